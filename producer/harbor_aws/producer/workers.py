"""How many workers there are, and should be: the scale of their Deployment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.cluster import Cluster, ObjectNotFoundError
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.stack import Stack

LOOK_SECONDS = 1.0
"""How often a wanted number of workers is compared with what there is."""


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


async def count_workers(stack: Stack) -> WorkerCount:
    """How many workers the stack has.

    Raises:
        UsageError: the stack's workers have no Deployment.
    """
    async with Cluster.open(stack.workers) as cluster:
        return await _count(cluster, stack)


async def scale_workers(
    stack: Stack, replicas: int, *, wait: bool, on_change: Callable[[WorkerCount], None] | None = None
) -> WorkerCount:
    """Ask for ``replicas`` workers and, with ``wait``, return when there are exactly so many and all are ready.

    A worker that goes finishes or hands back its trials; the Deployment counts it until then.

    Raises:
        UsageError: the stack's workers have no Deployment.
    """
    async with Cluster.open(stack.workers) as cluster:
        try:
            await cluster.scale_deployment(WORKER_DEPLOYMENT, replicas=replicas)
        except ObjectNotFoundError as error:
            raise _no_deployment(stack) from error
        while True:
            count = await _count(cluster, stack)
            if on_change:
                on_change(count)
            if not wait or (count.is_settled and count.desired == replicas):
                return count
            await asyncio.sleep(LOOK_SECONDS)


async def _count(cluster: Cluster, stack: Stack) -> WorkerCount:
    try:
        deployment = await cluster.deployment(WORKER_DEPLOYMENT)
    except ObjectNotFoundError as error:
        raise _no_deployment(stack) from error
    status: dict[str, Any] = deployment.get("status", {})
    return WorkerCount(
        desired=deployment["spec"]["replicas"],
        ready=status.get("readyReplicas", 0),
        existing=status.get("replicas", 0),
    )


def _no_deployment(stack: Stack) -> UsageError:
    return UsageError(
        f"The stack {stack.name!r} has no Deployment {WORKER_DEPLOYMENT} in namespace {stack.workers.namespace!r}."
    )
