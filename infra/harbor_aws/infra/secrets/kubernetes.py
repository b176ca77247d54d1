"""The Secret of a stack's workers in its cluster, changed one entry at a time."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.secrets.stored import StoredSecret

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster

Json = dict[str, Any]

SECRETS = "harbor-aws-worker-secrets"
"""A Secret whose entries are variables of the workers: the agents' keys. There need not be one."""

_PREFIX = "secrets.harbor-aws/set."
_SUFFIX = ".at"


class KubernetesSecrets:
    """The workers' Secret. What another changes at the same time stays: a change says one entry, and no other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._all = f"/api/v1/namespaces/{cluster.namespace}/secrets"
        self._path = f"{self._all}/{SECRETS}"

    async def set(self, name: str, value: str) -> None:
        """Keep a secret, instead of the one that had the name."""
        encoded = base64.b64encode(value.encode(errors="surrogateescape")).decode()
        change = _change(name, encoded, datetime.now(UTC).isoformat(timespec="seconds"))
        try:
            await self._patch(change)
        except ObjectNotFoundError:
            try:
                await self._create(change)
            except ObjectConflictError:  # somebody else made it meanwhile
                await self._patch(change)

    async def remove(self, name: str) -> bool:
        """``False`` if there was none."""
        if name not in (await self._read()).get("data", {}):
            return False
        await self._patch(_change(name, None, None))
        return True

    async def list(self) -> list[StoredSecret]:
        """Names and ages, by name."""
        found = await self._read()
        dates = found.get("metadata", {}).get("annotations", {})
        return [StoredSecret(name, _date(dates.get(_annotation(name)))) for name in sorted(found.get("data", {}))]

    async def _read(self) -> Json:
        try:
            found = await self._cluster.request("GET", self._path)
        except ObjectNotFoundError:
            return {}
        return {key: value for key, value in found.items() if value is not None}

    async def _patch(self, change: Json) -> None:
        await self._cluster.request("PATCH", self._path, body=change, content_type="application/merge-patch+json")

    async def _create(self, change: Json) -> None:
        metadata = {**change["metadata"], "name": SECRETS, "namespace": self._cluster.namespace}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", **change, "metadata": metadata}
        await self._cluster.request("POST", self._all, body=body)


def _change(name: str, encoded: str | None, at: str | None) -> Json:
    return {"data": {name: encoded}, "metadata": {"annotations": {_annotation(name): at}}}


def _annotation(name: str) -> str:
    return f"{_PREFIX}{name}{_SUFFIX}"


def _date(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
