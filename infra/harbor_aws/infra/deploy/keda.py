"""KEDA in a stack's cluster: brought there with what tells it to scale the workers, and removed again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.deploy.apply import apply_objects
from harbor_aws.infra.deploy.keda_manifest import (
    KEDA_NAMESPACE,
    KEDA_URL,
    KEDA_VERSION,
    WHOLE,
    KedaManifestError,
    fingerprint,
    for_fargate,
    namespace_of,
    parse,
)
from harbor_aws.infra.deploy.keda_source import read_keda_manifest
from harbor_aws.infra.deploy.manifests.autoscaling import autoscaling
from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.infra.labels import stack_selector
from harbor_aws.infra.scaled_object import authentication_path, scaled_object_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.deploy.follow import Watcher
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan
    from harbor_aws.infra.stack import Stack

Json = dict[str, Any]

LOOK_SECONDS = 1.0

SERVED_SECONDS = 60.0
"""How long the cluster may take until it serves the kinds that KEDA brings; it takes a second or two."""

FINALIZER_SECONDS = 60.0
"""How long KEDA may take to let go of an object; if it does not run it never does."""

_MERGE_PATCH = "application/merge-patch+json"
_METRICS = "/apis/apiregistration.k8s.io/v1/apiservices"


async def apply_autoscaling(
    cluster: Cluster, plan: ClusterPlan, *, manifest: Sequence[Json] | None, watcher: Watcher
) -> None:
    """Make KEDA be there, and scale the workers.

    Args:
        manifest: KEDA's objects; ``None`` for those of :data:`~harbor_aws.infra.deploy.keda_manifest.KEDA_URL`, which
            are only fetched if they have not been applied before.

    Raises:
        PermanentError: they cannot be fetched, or the cluster refuses them.
        TransientError: the cluster does not answer, or does not take up KEDA's kinds.
    """
    role_arn = plan.keda_role_arn
    assert role_arn is not None  # noqa: S101 - whoever has no role has no autoscaling
    mark = fingerprint(role_arn)
    if manifest is not None or await _mark(cluster) != mark:
        if manifest is None:
            watcher.began(f"Fetching KEDA {KEDA_VERSION}")
            manifest = await asyncio.to_thread(_fetched)
        watcher.began("Making the autoscaler, KEDA")
        await _apply_keda(cluster, for_fargate(manifest, labels=plan.labels, role_arn=role_arn), mark=mark)
    await _apply_once_served(cluster, autoscaling(plan))


async def remove_autoscaling(cluster: Cluster, stack: Stack, *, watcher: Watcher) -> None:
    """Have KEDA let go of the workers, and remove what would keep a namespace from going; then KEDA's is free to go.

    Raises:
        TransientError: the cluster does not answer, or something does not go.
        AccessRefusedError, PermanentError: it refuses.
    """
    await _unmark(cluster)
    # KEDA holds each by a finalizer, until it has cleaned up after it.
    held = [path(stack.workers.namespace) for path in (scaled_object_path, authentication_path)]
    if there := [path for path in held if not await _is_gone(cluster, path)]:
        watcher.began("Ending the autoscaling")
        for path in there:
            await _remove_held(cluster, path)
    # A namespace cannot go while the server of an API does not answer, and this one's is in a namespace that goes:
    # https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
    try:
        found = await cluster.request("GET", _METRICS, query={"labelSelector": stack_selector(stack.name)})
    except ObjectNotFoundError:
        return
    for each in found["items"]:
        await _delete(cluster, f"{_METRICS}/{each['metadata']['name']}")


async def remove_keda_namespace(cluster: Cluster, stack: Stack) -> None:
    """Ask for it to go, with KEDA in it, unless it is somebody else's. Its kinds stay, and do nothing."""
    query = {"labelSelector": stack_selector(stack.name), "fieldSelector": f"metadata.name={KEDA_NAMESPACE}"}
    if (await cluster.request("GET", "/api/v1/namespaces", query=query))["items"]:
        await _delete(cluster, f"/api/v1/namespaces/{KEDA_NAMESPACE}")


def _fetched() -> list[Json]:
    try:
        return parse(read_keda_manifest(KEDA_URL), source=KEDA_URL)
    except KedaManifestError as error:
        raise PermanentError(f"All was made but the autoscaling. {error} Then run the same command again.") from error


async def _mark(cluster: Cluster) -> str | None:
    try:
        namespace = await cluster.request("GET", f"/api/v1/namespaces/{KEDA_NAMESPACE}")
    except ObjectNotFoundError:
        return None
    return (namespace["metadata"].get("annotations") or {}).get(WHOLE)


async def _apply_keda(cluster: Cluster, objects: Sequence[Json], *, mark: str) -> None:
    if unknown := await apply_objects(cluster, objects):
        raise PermanentError(
            f"The cluster does not know {', '.join(sorted(set(unknown)))}, which KEDA {KEDA_VERSION} consists of. Look "
            "at the cluster's version; --no-autoscaling does without KEDA."
        )
    namespace = namespace_of(objects)
    annotations = {**(namespace["metadata"].get("annotations") or {}), WHOLE: mark}
    await apply_objects(cluster, [{**namespace, "metadata": {**namespace["metadata"], "annotations": annotations}}])


async def _apply_once_served(cluster: Cluster, objects: Sequence[Json]) -> None:
    """As soon as each API server has taken up the kinds, which they do one after the other."""
    deadline = time.monotonic() + SERVED_SECONDS
    while True:
        try:
            unknown = await apply_objects(cluster, objects)
        except ObjectNotFoundError:
            unknown = tuple(each["kind"] for each in objects)
        if not unknown:
            return
        if time.monotonic() > deadline:
            raise TransientError(
                f"After {SERVED_SECONDS:.0f} s the cluster does not serve {', '.join(unknown)} of KEDA; run the "
                "command again."
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _unmark(cluster: Cluster) -> None:
    """From now on KEDA is not whole: the next deploy applies all of it again."""
    if await _mark(cluster) is None:
        return
    body = {"metadata": {"annotations": {WHOLE: None}}}
    with suppress(ObjectNotFoundError):
        await cluster.request("PATCH", f"/api/v1/namespaces/{KEDA_NAMESPACE}", body=body, content_type=_MERGE_PATCH)


async def _remove_held(cluster: Cluster, path: str) -> None:
    await _delete(cluster, path)
    if await _goes(cluster, path, within_seconds=FINALIZER_SECONDS):
        return
    # KEDA does not run, and cannot take away what it put there to be told.
    try:
        await cluster.request("PATCH", path, body={"metadata": {"finalizers": None}}, content_type=_MERGE_PATCH)
    except ObjectNotFoundError:
        return
    if not await _goes(cluster, path, within_seconds=FINALIZER_SECONDS):
        raise TransientError(f"KEDA's object {path} does not go; run the command again.")


async def _goes(cluster: Cluster, path: str, *, within_seconds: float) -> bool:
    deadline = time.monotonic() + within_seconds
    while not await _is_gone(cluster, path):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


async def _is_gone(cluster: Cluster, path: str) -> bool:
    try:
        await cluster.request("GET", path)
    except ObjectNotFoundError:
        return True
    return False


async def _delete(cluster: Cluster, path: str) -> None:
    with suppress(ObjectNotFoundError):
        await cluster.request("DELETE", path)
