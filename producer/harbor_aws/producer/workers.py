"""How many workers there are, and should be: the scale of their Deployment, and who decides it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.cluster import Cluster, ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.labels import PREFIX
from harbor_aws.infra.scaled_object import MAX_WORKERS, MIN_WORKERS, PAUSED, PAUSED_AT, Autoscaling, scaled_object_path
from harbor_aws.infra.stack import LOCAL_STACK, WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harbor_aws.infra.stack import Stack

Json = dict[str, Any]

LOOK_SECONDS = 1.0
"""How often a wanted number of workers is compared with what there is."""

_TRIES = 10
"""Of a change that comes between another's reading and writing; KEDA writes every few seconds."""


class WorkerCount(BaseModel):
    """The workers' Deployment in numbers."""

    model_config = ConfigDict(frozen=True)

    desired: int
    ready: int
    existing: int
    """Pods of the Deployment, those that start or are going included where the cluster counts them."""

    @property
    def is_settled(self) -> bool:
        return self.desired == self.ready == self.existing


class WorkerScale(WorkerCount):
    """The same, and who decides how many there are."""

    autoscaling: Autoscaling | None
    """``None`` where only `scale N` does."""


async def count_workers(stack: Stack) -> WorkerCount:
    """How many workers the stack has.

    Raises:
        UsageError: the stack's workers have no Deployment.
    """
    async with Cluster.open(stack.workers) as cluster:
        return await _count(cluster, stack)


async def worker_scale(stack: Stack) -> WorkerScale:
    """How many workers the stack has, and who decides that.

    Raises:
        UsageError: the stack's workers have no Deployment.
    """
    async with Cluster.open(stack.workers) as cluster:
        return await _scale(cluster, stack)


async def scale_workers(
    stack: Stack, replicas: int, *, wait: bool, on_change: Callable[[WorkerCount], None] | None = None
) -> WorkerScale:
    """Ask for ``replicas`` workers and, with ``wait``, return when there are exactly so many and all are ready.

    The queue decides no more, where it did: KEDA is told to keep to that number. A worker that goes finishes or hands
    back its trials; the Deployment counts it until then.

    Raises:
        UsageError: the stack's workers have no Deployment.
    """
    async with Cluster.open(stack.workers) as cluster:
        await _count(cluster, stack)
        if await _scaled_object(cluster, stack) is not None:
            await _insisting(lambda: _patch(cluster, stack, {"annotations": {PAUSED_AT: str(replicas)}}))
        await _insisting(lambda: cluster.scale_deployment(WORKER_DEPLOYMENT, replicas=replicas))
        while True:
            count = await _count(cluster, stack)
            if on_change:
                on_change(count)
            if not wait or (count.is_settled and count.desired == replicas):
                return await _scale(cluster, stack)
            await asyncio.sleep(LOOK_SECONDS)


async def restart_workers(stack: Stack) -> None:
    """Have every worker replaced by a new one, a few at a time; each that goes finishes or hands back its trials.

    Raises:
        UsageError: the stack's workers have no Deployment.
    """
    annotations = {f"{PREFIX}restarted-at": datetime.now(UTC).isoformat()}
    async with Cluster.open(stack.workers) as cluster:
        await _count(cluster, stack)
        await cluster.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{stack.workers.namespace}/deployments/{WORKER_DEPLOYMENT}",
            body={"spec": {"template": {"metadata": {"annotations": annotations}}}},
            content_type="application/merge-patch+json",
        )


async def automate_workers(stack: Stack, *, minimum: int | None = None, maximum: int | None = None) -> WorkerScale:
    """Let the queue decide from now on, within bounds, of which ``None`` is left as it is.

    Raises:
        UsageError: the stack's workers have no Deployment, or nothing that scales them, or the bounds cross.
    """
    async with Cluster.open(stack.workers) as cluster:
        await _count(cluster, stack)
        await _insisting(lambda: _automate(cluster, stack, minimum, maximum))
        return await _scale(cluster, stack)


async def _automate(cluster: Cluster, stack: Stack, minimum: int | None, maximum: int | None) -> None:
    """Written only if nobody has changed it since it was read: the bounds are held against each other."""
    found = await _scaled_object(cluster, stack)
    if found is None:
        raise _no_autoscaling(stack)
    now = Autoscaling.of(found)
    low = now.minimum if minimum is None else minimum
    high = now.maximum if maximum is None else maximum
    if low > high:
        is_half = minimum is None or maximum is None
        raise UsageError(
            f"At least {low} and at most {high} workers is no range"
            + (f"; it is {now.minimum} to {now.maximum} now, so say both --min and --max." if is_half else ".")
        )
    annotations: Json = {PAUSED_AT: None, PAUSED: None}
    spec = {}
    if minimum is not None:
        annotations[MIN_WORKERS], spec["minReplicaCount"] = str(minimum), minimum
    if maximum is not None:
        annotations[MAX_WORKERS], spec["maxReplicaCount"] = str(maximum), maximum
    metadata = {"annotations": annotations, "resourceVersion": found["metadata"]["resourceVersion"]}
    await _patch(cluster, stack, metadata, spec)


async def _patch(cluster: Cluster, stack: Stack, metadata: Json, spec: Json | None = None) -> None:
    await cluster.request(
        "PATCH",
        scaled_object_path(stack.workers.namespace),
        body={"metadata": metadata, "spec": spec or {}},
        content_type="application/merge-patch+json",
    )


async def _insisting(change: Callable[[], Awaitable[None]]) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            await change()
        except ObjectConflictError:
            if not tries_left:
                raise
        else:
            return


async def _scale(cluster: Cluster, stack: Stack) -> WorkerScale:
    count = await _count(cluster, stack)
    found = await _scaled_object(cluster, stack)
    return WorkerScale(**count.model_dump(), autoscaling=Autoscaling.of(found) if found else None)


async def _scaled_object(cluster: Cluster, stack: Stack) -> Json | None:
    """``None`` too in a cluster that has never heard of KEDA."""
    try:
        return await cluster.request("GET", scaled_object_path(stack.workers.namespace))
    except ObjectNotFoundError:
        return None


async def _count(cluster: Cluster, stack: Stack) -> WorkerCount:
    try:
        deployment = await cluster.deployment(WORKER_DEPLOYMENT)
    except ObjectNotFoundError as error:
        raise _no_deployment(stack) from error
    status: Json = deployment.get("status", {})
    return WorkerCount(
        desired=deployment["spec"]["replicas"],
        ready=status.get("readyReplicas", 0),
        existing=status.get("replicas", 0),
    )


def _no_deployment(stack: Stack) -> UsageError:
    return UsageError(
        f"The stack {stack.name!r} has no Deployment {WORKER_DEPLOYMENT} in namespace {stack.workers.namespace!r}."
    )


def _no_autoscaling(stack: Stack) -> UsageError:
    how = "`harbor-aws scale N` sets how many workers there are"
    if stack.name != LOCAL_STACK:
        how += f"; `harbor-aws deploy --stack {stack.name} --autoscaling` brings what scales them by the queue"
    return UsageError(f"The stack {stack.name!r} has no autoscaling: {how}.")
