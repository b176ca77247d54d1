"""Making a cluster's objects what their manifests say, server-side: what others set on them stays.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.deploy.kinds import Kinds
from harbor_aws.infra.deploy.manifests.autoscaling import with_bounds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harbor_aws.infra.cluster import Cluster

Json = dict[str, Any]

FIELD_MANAGER = "harbor-aws"

FIRST_REPLICAS = 0
"""Of a new Deployment: its image may not be there yet, and ``scale`` says how many there shall be."""

_TRIES = 5
"""Of an object that somebody scales at the same moment."""


async def apply_objects(cluster: Cluster, manifests: Sequence[Json]) -> tuple[str, ...]:
    """Make the objects, or make them as they should be, in this order; the kinds that the cluster does not know.

    Raises:
        TransientError: the cluster does not answer; what was made stays, and the next run goes on.
        AccessRefusedError, PermanentError: it refuses.
    """
    kinds = Kinds(cluster)
    unknown = []
    for manifest in manifests:
        path = await kinds.path_of(manifest)
        if path is None:
            unknown.append(manifest["kind"])
        elif keep := _keeper(manifest):
            await _apply_keeping(cluster, path, manifest, keep)
        else:
            await _apply(cluster, path, manifest)
    return tuple(unknown)


async def _apply(cluster: Cluster, path: str, manifest: Json) -> None:
    await cluster.request(
        "PATCH",
        path,
        query={"fieldManager": FIELD_MANAGER, "force": "true"},
        body=manifest,
        content_type="application/apply-patch+yaml",  # JSON is YAML
    )


async def _apply_keeping(
    cluster: Cluster, path: str, manifest: Json, keep: Callable[[Json | None, Json], Json]
) -> None:
    """With what others set. A field that was applied once and is then left out would go back to its default."""
    for tries_left in reversed(range(_TRIES)):
        metadata, found = dict(manifest["metadata"]), None
        try:
            found = await cluster.request("GET", path)
        except ObjectNotFoundError:
            pass
        else:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        try:
            await _apply(cluster, path, keep(found, {**manifest, "metadata": metadata}))
        except ObjectConflictError:
            if not tries_left:
                raise
        else:
            return


def _keeper(manifest: Json) -> Callable[[Json | None, Json], Json] | None:
    """What makes of the object that is there, and its manifest, what is to be."""
    if manifest["kind"] == "ScaledObject":
        return with_bounds_of
    if manifest["kind"] == "Deployment" and "replicas" not in manifest["spec"]:
        return _with_replicas_of
    return None


def _with_replicas_of(found: Json | None, manifest: Json) -> Json:
    replicas = found["spec"]["replicas"] if found else FIRST_REPLICAS
    return {**manifest, "spec": {**manifest["spec"], "replicas": replicas}}
