"""Emptying a cluster before it goes: workers drain, trials' pods are deleted, then the namespaces with all in them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import Cluster, ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.deploy.keda import remove_autoscaling
from harbor_aws.infra.deploy.keda_manifest import KEDA_NAMESPACE
from harbor_aws.infra.deploy.manifests.namespaces import LOGGING_NAMESPACE
from harbor_aws.infra.deploy.manifests.workers import GRACE_MARGIN_SECONDS
from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.labels import stack_selector
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harbor_aws.infra.deploy.follow import Watcher
    from harbor_aws.infra.stack import Stack

Json = dict[str, Any]

LOOK_SECONDS = 2.0
"""How often what goes is looked at."""

PODS_SECONDS = 300.0
"""How long deleted pods, and then namespaces, may take to go; Fargate takes a minute."""


class StuckError(TransientError):
    """Something does not go; the same command goes on from there."""


async def remove_objects(stack: Stack, *, watcher: Watcher) -> None:
    """Remove all that the stack has in its cluster; what is gone already is none the worse.

    Raises:
        StuckError: something did not go in time.
        TransientError: the cluster does not answer.
        AccessRefusedError, PermanentError: it refuses.
    """
    async with Cluster.open(stack.workers) as workers, Cluster.open(stack.trials) as trials:
        await remove_autoscaling(workers, stack, watcher=watcher)  # it would have workers again
        await _drain(workers, stack, watcher)
        await _delete_pods(trials, watcher)
        await _delete_namespaces(workers, stack, watcher)


async def _drain(cluster: Cluster, stack: Stack, watcher: Watcher) -> None:
    """The workers' own way to end: they hand their trials back, so that none is left without its message."""
    try:
        await cluster.scale_deployment(WORKER_DEPLOYMENT, replicas=0)
        deployment = await cluster.deployment(WORKER_DEPLOYMENT)
    except ObjectNotFoundError:
        return
    watcher.began("Draining the workers")
    grace: int = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())

    async def left() -> int:
        return len((await cluster.list_pods(selector=selector))["items"])

    # The first pods may not have been told yet, hence the margin.
    await _until_none(
        left, what=f"workers of {stack.name} still drain", within_seconds=grace + GRACE_MARGIN_SECONDS, watcher=watcher
    )


async def _delete_pods(cluster: Cluster, watcher: Watcher) -> None:
    """Of the trials' namespace, whoever made them; a network interface of Fargate's goes with its pod."""

    async def left() -> int:
        return len((await cluster.request("GET", cluster.pods_path))["items"])

    if not await left():
        return
    watcher.began("Deleting the trials' pods")
    await cluster.request("DELETE", cluster.pods_path, body={"apiVersion": "v1", "kind": "DeleteOptions"})
    await _until_none(left, what="pods still end", within_seconds=PODS_SECONDS, watcher=watcher)


async def _delete_namespaces(cluster: Cluster, stack: Stack, watcher: Watcher) -> None:
    """With all that is in them. Those of others, of the same name, are left alone."""
    watcher.began("Deleting the cluster's namespaces")
    names = {stack.trials.namespace, stack.workers.namespace, LOGGING_NAMESPACE, KEDA_NAMESPACE}

    async def ours() -> list[Json]:
        query = {"labelSelector": stack_selector(stack.name)}
        found = (await cluster.request("GET", "/api/v1/namespaces", query=query))["items"]
        return [each for each in found if each["metadata"]["name"] in names]

    async def left() -> int:
        return len(await ours())

    for each in await ours():
        try:
            await cluster.request("DELETE", f"/api/v1/namespaces/{each['metadata']['name']}")
        except (ObjectNotFoundError, ObjectConflictError):  # it has gone, or goes
            continue
    await _until_none(left, what="namespaces still go", within_seconds=PODS_SECONDS, watcher=watcher)


async def _until_none(
    left: Callable[[], Awaitable[int]], *, what: str, within_seconds: float, watcher: Watcher
) -> None:
    deadline = time.monotonic() + within_seconds
    while number := await left():
        watcher.waits(f"{number} {what}")
        if time.monotonic() > deadline:
            raise StuckError(f"After {within_seconds:.0f} s {number} {what}; run the command again.")
        await asyncio.sleep(LOOK_SECONDS)
