"""From a pod's specification to what is started for one of its containers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.labels import NETWORK_LABEL, NO_NETWORK
from harbor_aws.infra.local.kubernetes.objects.pod_rules import NODE_ADDRESS, NODE_NAME
from harbor_aws.infra.local.kubernetes.objects.quantities import parse_quantity
from harbor_aws.infra.local.kubernetes.pods.program import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.local.kubernetes.images.store import ImageConfig
    from harbor_aws.infra.local.kubernetes.pods.program import ProgramSpec
    from harbor_aws.infra.local.kubernetes.runtime import PodObject

_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_VARIABLE = re.compile(r"\$(?:\$|\(([A-Za-z0-9_.-]+)\))")


class ContainerConfigError(Exception):
    """The container asks for something that this runtime does not do; the text names it."""


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume's place in a container."""

    volume: str
    path: str
    sub_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """What is started for a container."""

    program: ProgramSpec
    memory_bytes: int | None
    """The most memory it may use."""
    storage_bytes: int | None
    """The most that it may write."""
    mounts: tuple[VolumeMount, ...]


def plan_container(pod: PodObject, container: Mapping[str, Any], config: ImageConfig) -> ContainerPlan:
    """What to start.

    Raises:
        ContainerConfigError: it cannot be done as asked.
    """
    env = _environment(pod, container, config)
    command = container.get("command") or config.entrypoint
    args = container.get("args") or ([] if container.get("command") else config.cmd)
    argv = [expand(one, env) for one in (container.get("command") or [])] or list(command)
    argv += [expand(one, env) for one in args] if container.get("args") else list(args)
    if not argv:
        raise ContainerConfigError("no command specified")
    security = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    limits = (container.get("resources") or {}).get("limits") or {}
    program: ProgramSpec = {
        "args": argv,
        "env": env,
        "cwd": container.get("workingDir") or config.working_dir or "/",
        "user": _user(security, config),
        "groups": [*security.get("supplementalGroups", ()), *_given(security.get("fsGroup"))],
        "no_new_privileges": security.get("allowPrivilegeEscalation") is False,
    }
    return ContainerPlan(
        program, _bytes(limits.get("memory")), _bytes(limits.get("ephemeral-storage")), tuple(_mounts(container))
    )


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by a variable's value, as Kubernetes does; an unknown one stays as it is."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else env.get(found[1], found[0])

    return _VARIABLE.sub(value, text)


def _environment(pod: PodObject, container: Mapping[str, Any], config: ImageConfig) -> dict[str, str]:
    if container.get("envFrom"):
        raise ContainerConfigError("envFrom is not supported by the embedded Kubernetes")
    given: dict[str, str] = {}
    for variable in container.get("env") or ():
        name, source = variable["name"], variable.get("valueFrom")
        given[name] = (
            _referenced(pod, container, name, source) if source else expand(variable.get("value") or "", given)
        )
    return {"PATH": DEFAULT_PATH, "HOSTNAME": hostname(pod), **config.env, **given}


def hostname(pod: PodObject) -> str:
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip(".-")


def has_network(pod: PodObject) -> bool:
    """Whether a pod has this machine's network, or none."""
    return bool((pod["metadata"].get("labels") or {}).get(NETWORK_LABEL) != NO_NETWORK)


def _referenced(pod: PodObject, container: Mapping[str, Any], name: str, source: Mapping[str, Any]) -> str:
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        kind, _, resource = source["resourceFieldRef"]["resource"].partition(".")
        amount = ((container.get("resources") or {}).get(kind) or {}).get(resource, 0)
        return str(int(-(-parse_quantity(amount) // parse_quantity(source["resourceFieldRef"].get("divisor") or 1))))
    raise ContainerConfigError(f"env {name}: {', '.join(source)} is not supported by the embedded Kubernetes")


def _field(pod: PodObject, path: str) -> str:
    metadata = pod["metadata"]
    keyed = _KEYED_FIELD.fullmatch(path)
    if keyed:
        return str((metadata.get(keyed[1]) or {}).get(keyed[2], ""))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": NODE_NAME,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": NODE_ADDRESS,
        "status.podIPs": NODE_ADDRESS,
        "status.hostIP": NODE_ADDRESS,
    }
    if path not in known:
        raise ContainerConfigError(f"fieldRef {path} is not supported by the embedded Kubernetes")
    return str(known[path])


def _user(security: Mapping[str, Any], config: ImageConfig) -> str:
    user, group = security.get("runAsUser"), security.get("runAsGroup")
    name = config.user.partition(":")[0] if user is None else str(user)
    chosen = config.user if user is None and group is None else name if group is None else f"{name or 0}:{group}"
    if security.get("runAsNonRoot") and (chosen.partition(":")[0] or "0") in {"0", "root"}:
        raise ContainerConfigError("container has runAsNonRoot and image will run as root")
    return chosen


def _mounts(container: Mapping[str, Any]) -> list[VolumeMount]:
    return [
        VolumeMount(one["name"], one["mountPath"], one.get("subPath") or "", bool(one.get("readOnly")))
        for one in container.get("volumeMounts") or ()
    ]


def _bytes(amount: object) -> int | None:
    return None if amount is None else int(parse_quantity(amount))


def _given(value: int | None) -> list[int]:
    return [] if value is None else [value]
