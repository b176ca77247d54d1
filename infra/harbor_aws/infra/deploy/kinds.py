"""Where a cluster serves objects of a kind, by its own word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectNotFoundError

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster

Json = dict[str, Any]


class Kinds:
    """What a cluster's API has, asked once for each group."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._groups: dict[str, dict[str, Json]] = {}

    async def path_of(self, manifest: Json) -> str | None:
        """The path of the object that a manifest is of; ``None`` if the cluster does not know its kind.

        Raises:
            TransientError: the cluster does not answer.
            AccessRefusedError: it refuses.
        """
        api_version, metadata = manifest["apiVersion"], manifest["metadata"]
        resource = (await self._resources(api_version)).get(manifest["kind"])
        if resource is None:
            return None
        place = f"/namespaces/{metadata['namespace']}" if resource["namespaced"] else ""
        return f"{_root(api_version)}{place}/{resource['name']}/{metadata['name']}"

    async def _resources(self, api_version: str) -> dict[str, Json]:
        if api_version not in self._groups:
            try:
                answer = await self._cluster.request("GET", _root(api_version))
            except ObjectNotFoundError:
                answer = {"resources": []}
            self._groups[api_version] = {each["kind"]: each for each in answer["resources"] if "/" not in each["name"]}
        return self._groups[api_version]


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
