"""What a trial's pod may do, against the published rules of Pod Security."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.worker.pod_security import RESTRICTED_USER, restricted_user, user_within
from harbor_aws.worker.pod_spec import PodOwner, PodRequest, pod_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Json = dict[str, Any]
    Rule = Callable[[Json], bool]

OWNER = PodOwner(job="job", trial="trial", attempt_id="01-a", worker="w", session="trial__env", stack="s")

DEFAULT_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SECCOMP = {"RuntimeDefault", "Localhost"}
SAFE_SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"}


def spec(*, user: int = 0) -> Json:
    request = PodRequest(owner=OWNER, image="i", size=FargateSize(250, 512), deadline_seconds=1, user=user)
    manifest: Json = pod_manifest(request)
    return {**manifest["spec"], "annotations": manifest["metadata"]["annotations"]}


def contexts(spec: Json) -> Iterator[Json]:
    """Of each container, what it says itself before what the pod says."""
    for container in (*spec["containers"], *spec.get("initContainers", ()), *spec.get("ephemeralContainers", ())):
        yield {**spec.get("securityContext", {}), **container.get("securityContext", {})}


def volume_kinds(spec: Json) -> set[str]:
    return {kind for volume in spec.get("volumes", ()) for kind in volume if kind != "name"}


def ports(spec: Json) -> Iterator[Json]:
    for container in spec["containers"]:
        yield from container.get("ports", ())


def added(context: Json) -> set[str]:
    return set(context.get("capabilities", {}).get("add", ()))


# https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
BASELINE: dict[str, Rule] = {
    "HostProcess": lambda spec: not any(one.get("windowsOptions", {}).get("hostProcess") for one in contexts(spec)),
    "Host Namespaces": lambda spec: not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "Privileged Containers": lambda spec: not any(one.get("privileged") for one in contexts(spec)),
    "Capabilities": lambda spec: all(added(one) <= DEFAULT_CAPABILITIES for one in contexts(spec)),
    "HostPath Volumes": lambda spec: "hostPath" not in volume_kinds(spec),
    "Host Ports": lambda spec: not any(port.get("hostPort") for port in ports(spec)),
    "AppArmor": lambda spec: (
        not any("apparmor" in key for key in spec["annotations"])
        and not any("appArmorProfile" in one for one in contexts(spec))
    ),
    "SELinux": lambda spec: not any("seLinuxOptions" in one for one in contexts(spec)),
    "/proc Mount Type": lambda spec: all(one.get("procMount", "Default") == "Default" for one in contexts(spec)),
    "Seccomp": lambda spec: all(one.get("seccompProfile", {}).get("type") != "Unconfined" for one in contexts(spec)),
    "Sysctls": lambda spec: {one["name"] for one in spec["securityContext"].get("sysctls", ())} <= SAFE_SYSCTLS,
}

# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
RESTRICTED: dict[str, Rule] = {
    **BASELINE,
    "Volume Types": lambda spec: volume_kinds(spec) <= RESTRICTED_VOLUMES,
    "Privilege Escalation": lambda spec: all(one.get("allowPrivilegeEscalation") is False for one in contexts(spec)),
    "Running as Non-root": lambda spec: all(one.get("runAsNonRoot") is True for one in contexts(spec)),
    "Running as Non-root user": lambda spec: all(one.get("runAsUser") != 0 for one in contexts(spec)),
    "Seccomp": lambda spec: all(one.get("seccompProfile", {}).get("type") in SECCOMP for one in contexts(spec)),
    "Capabilities": lambda spec: all(
        "ALL" in one.get("capabilities", {}).get("drop", ()) and added(one) <= {"NET_BIND_SERVICE"}
        for one in contexts(spec)
    ),
}


@pytest.mark.parametrize("rule", BASELINE)
@pytest.mark.parametrize("user", [0, 1000])
def test_every_pod_is_one_that_baseline_admits(user: int, rule: str) -> None:
    """Root's as well: a namespace that enforces baseline takes them all."""
    assert BASELINE[rule](spec(user=user))


@pytest.mark.parametrize("rule", RESTRICTED)
def test_a_restricted_pod_is_one_that_restricted_admits(rule: str) -> None:
    """In a namespace that enforces restricted."""
    assert RESTRICTED[rule](spec(user=1000))


def test_the_rules_of_restricted_do_refuse() -> None:
    """Root's pod breaks exactly those that root cannot keep, so the table above is not empty words."""
    broken = {rule for rule, holds in RESTRICTED.items() if not holds(spec())}
    assert broken == {"Privilege Escalation", "Running as Non-root", "Running as Non-root user", "Capabilities"}


@pytest.mark.parametrize("user", [0, 1000])
def test_nothing_of_the_cluster_is_in_a_pod(user: int) -> None:
    """No token, no addresses of services, nothing of the node's or of the cluster's mounted."""
    made = spec(user=user)
    assert (made["automountServiceAccountToken"], made["enableServiceLinks"]) == (False, False)
    assert volume_kinds(made) <= {"emptyDir"}
    assert "serviceAccountName" not in made
    assert all("env" not in container and "envFrom" not in container for container in made["containers"])


@pytest.mark.parametrize(
    ("image_user", "chosen"),
    [(None, RESTRICTED_USER), ("root", RESTRICTED_USER), ("0", RESTRICTED_USER), ("agent", RESTRICTED_USER), ("7", 7)],
)
def test_whom_a_restricted_pod_runs_as(image_user: str | None, chosen: int) -> None:
    """The number that the Dockerfile says; a name is not known to be another than root, and a number is needed."""
    assert restricted_user(image_user) == chosen


@pytest.mark.parametrize(
    ("user", "pod_user", "within"),
    [
        (None, 0, None),
        ("root", 0, "root"),
        ("agent", 0, "agent"),
        ("root", 1000, None),
        (0, 1000, None),
        ("0", 1000, None),
        (1000, 1000, None),
        ("1000", 1000, None),
        (None, 1000, None),
        ("agent", 1000, "agent"),
    ],
)
def test_whom_a_command_runs_as(user: str | int | None, pod_user: int, within: str | int | None) -> None:
    """In a restricted pod what is root's is done as the pod's user; another user's command fails, and says so."""
    assert user_within(user, pod_user=pod_user) == within
