"""Objects and lists as the bytes that a client asked for: JSON, or a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harbor_aws.infra.local.kubernetes.api.tables import table
from harbor_aws.infra.local.kubernetes.objects.api_errors import not_acceptable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Stored

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Representation:
    """How one client wants the objects of one resource."""

    resource: Resource
    as_table: bool
    include: str
    """What a table's rows carry."""

    @classmethod
    def of(cls, request: web.Request, resource: Resource) -> Representation:
        """Raises: ApiError: 406."""
        accept = request.headers.get("Accept", "*/*")
        if not any(kind in accept for kind in ("json", "*/*", "application/*")):
            raise not_acceptable()
        return cls(resource, "as=Table" in accept, request.query.get("includeObject", "Metadata"))

    def object(self, stored: Stored) -> bytes:
        if self.as_table:
            version = stored.item["metadata"].get("resourceVersion", "")
            return dumps(table(self.resource, [stored.item], {"resourceVersion": version}, include=self.include))
        return stored.json

    def list(self, rows: Sequence[Stored], metadata: dict[str, Any]) -> bytes:
        if self.as_table:
            return dumps(table(self.resource, [row.item for row in rows], metadata, include=self.include))
        head = dumps(
            {"kind": f"{self.resource.kind}List", "apiVersion": self.resource.api_version, "metadata": metadata}
        )
        return b'%s,"items":[%s]}' % (head[:-1], b",".join(row.json for row in rows))

    def event(self, kind: str, stored: Stored, *, columns: bool) -> bytes:
        """One line of a watch."""
        if not self.as_table:
            return b'{"type":"%s","object":%s}\n' % (kind.encode(), stored.json)
        metadata = {"resourceVersion": stored.item["metadata"]["resourceVersion"]}
        shown = table(self.resource, [stored.item], metadata, include=self.include, columns=columns)
        return dumps({"type": kind, "object": shown}) + b"\n"

    def bookmark(self, version: int, *, initial_end: bool) -> bytes:
        """The line of a watch that says how far it has come."""
        annotations = {"annotations": {"k8s.io/initial-events-end": "true"}} if initial_end else {}
        metadata = {"resourceVersion": str(version), "creationTimestamp": None, **annotations}
        item = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        if self.as_table:
            item = table(self.resource, [], {"resourceVersion": str(version)}, include=self.include, columns=False)
        return dumps({"type": "BOOKMARK", "object": item}) + b"\n"


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def json_response(body: object, *, status: int = 200) -> web.Response:
    """An answer in JSON; ``bytes`` are JSON already."""
    return web.Response(body=body if isinstance(body, bytes) else dumps(body), status=status, content_type=JSON)
