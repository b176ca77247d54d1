"""Making a cluster's objects what their manifests say, server-side: what others set on them stays.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.deploy.kinds import Kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.cluster import Cluster

Json = dict[str, Any]

FIELD_MANAGER = "harbor-aws"

FIRST_REPLICAS = 0
"""Of a new Deployment: its image may not be there yet, and ``scale`` says how many there shall be."""

_TRIES = 5
"""Of a Deployment that somebody scales at the same moment."""


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
        elif manifest["kind"] == "Deployment":
            await _apply_deployment(cluster, path, manifest)
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


async def _apply_deployment(cluster: Cluster, path: str, manifest: Json) -> None:
    """With as many replicas as it has. A field that was applied once and is then left out goes back to its default."""
    for tries_left in reversed(range(_TRIES)):
        metadata, replicas = dict(manifest["metadata"]), FIRST_REPLICAS
        try:
            found = await cluster.request("GET", path)
        except ObjectNotFoundError:
            pass
        else:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
            replicas = found["spec"]["replicas"]
        spec = {**manifest["spec"], "replicas": replicas}
        try:
            await _apply(cluster, path, {**manifest, "metadata": metadata, "spec": spec})
        except ObjectConflictError:
            if not tries_left:
                raise
        else:
            return
