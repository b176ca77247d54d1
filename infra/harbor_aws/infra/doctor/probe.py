"""``--probe``: a pod of the trials' kind, made to see how long it takes until a command runs in it, and deleted."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.doctor.asking import get, request
from harbor_aws.infra.doctor.check import Check, Kind
from harbor_aws.infra.doctor.execution import run_true
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.doctor.pod_state import is_running, trouble, waits_for
from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.labels import PREFIX, stack_labels

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.doctor.subject import Subject

Json = dict[str, Any]

PROBE_LABEL = f"{PREFIX}probe"
"""Of these pods; they have none of a worker, so no reaper takes them for a trial's."""

DEADLINE_SECONDS = 600
"""``activeDeadlineSeconds``: the last resort if nobody is left to delete it."""

PROBE_SECONDS = 300.0
"""How long the whole of it may take; the pod is deleted after that as well."""

DELETE_SECONDS = 20.0

IMAGE = "public.ecr.aws/docker/library/busybox:stable"
"""Small, and from a registry that asks nobody who they are. The local stack pulls nothing whatever the name."""

_LOOK_SECONDS = 0.5
_WAIT = ("sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 5 & wait $!; done")


async def _probe(subject: Subject) -> Outcome:
    if not subject.question.probe:
        return Outcome.skipped("say --probe: it makes one pod, for about a cent on Fargate, and deletes it")
    return await probe(await subject.trials(), stack=subject.question.stack, image=_image(subject))


async def probe(cluster: Cluster, *, stack: str, image: str, seconds: float = PROBE_SECONDS) -> Outcome:
    """Make the pod, run a command in it, delete it whatever happens, a cancellation included."""
    name = f"harbor-aws-probe-{uuid.uuid4().hex[:8]}"
    path = f"{cluster.pods_path}/{name}"
    begun = time.monotonic()
    try:
        await request(cluster, "POST", cluster.pods_path, body=manifest(name, stack=stack, image=image))
        try:
            async with asyncio.timeout(seconds):
                pod = await _running(cluster, path)
                started = time.monotonic() - begun
                ran = await run_true(cluster, pod)
        except TimeoutError:
            return await _given_up(cluster, path, seconds)
        except _NeverStartsError as error:
            return Outcome.failed(str(error), _FIX)
        return Outcome.ok(f"{_phases(pod, started)}; `true` took {ran:.2f} s")
    finally:
        await _delete(cluster, path)


def manifest(name: str, *, stack: str, image: str) -> Json:
    """A pod as small as Fargate has, with nothing of the cluster's in it, that Pod Security's *restricted* admits."""
    size = {"cpu": "250m", "memory": "256Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {**stack_labels(stack), PROBE_LABEL: "true"}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(_WAIT),
                    "resources": {"requests": size, "limits": size},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


class _NeverStartsError(HarborAwsError):
    """The pod says that it will not start."""


async def _running(cluster: Cluster, path: str) -> Json:
    while True:
        pod = await get(cluster, path)
        if is_running(pod):
            return pod
        if (why := trouble(pod)) or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            raise _NeverStartsError(f"the pod does not start: {why or pod['status'].get('message', 'it ended')}")
        await asyncio.sleep(_LOOK_SECONDS)


async def _given_up(cluster: Cluster, path: str, seconds: float) -> Outcome:
    async with asyncio.timeout(DELETE_SECONDS):
        pod = await get(cluster, path)
    return Outcome.failed(f"the pod did not run a command within {seconds:g} s: {waits_for(pod)}", _FIX)


def _phases(pod: Json, started: float) -> str:
    """By the cluster's own times, which are whole seconds."""
    status = pod["status"]
    at = {each["type"]: each.get("lastTransitionTime") for each in status.get("conditions") or []}
    created, scheduled = pod["metadata"]["creationTimestamp"], at.get("PodScheduled")
    running = status["containerStatuses"][0]["state"]["running"].get("startedAt")
    said = f"a command could run after {started:.0f} s"
    if scheduled and running:
        said += f" (scheduled after {_between(created, scheduled):.0f}, pulled and started after "
        said += f"{_between(scheduled, running):.0f} more)"
    return said


def _between(earlier: str, later: str) -> float:
    return max(0.0, (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds())


async def _delete(cluster: Cluster, path: str) -> None:
    """Also while this is being cancelled. What this cannot delete, its deadline ends."""
    deletion = asyncio.create_task(_delete_now(cluster, path))
    try:
        await asyncio.shield(deletion)
    except asyncio.CancelledError:
        await deletion
        raise


async def _delete_now(cluster: Cluster, path: str) -> None:
    with suppress(HarborAwsError, TimeoutError):
        async with asyncio.timeout(DELETE_SECONDS):
            with suppress(ObjectNotFoundError):
                await request(cluster, "DELETE", path)


def _image(subject: Subject) -> str:
    """Through the stack's own cache of Docker Hub if it has one, as tasks' images come."""
    hub = subject.outputs.get("DockerHubPrefix")
    if subject.kind is Kind.LOCAL:
        return "busybox:latest"
    return f"{hub}/library/busybox:stable" if hub else IMAGE


_FIX = (
    "kubectl get events in the trials' namespace says more. No capacity: fargate-vcpus; no image: pull-rights and the "
    "way out (NAT gateway); no machine: fargate-profiles."
)

CHECKS = (
    Check(
        id="probe",
        title="A new pod starts, and a command runs in it",
        look=_probe,
        fix=_FIX,
        needs=("namespaces",),
        seconds=PROBE_SECONDS + 2 * DELETE_SECONDS + 10,
    ),
)
