"""Reading the body of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request, unsupported_media_type
from harbor_aws.infra.local.kubernetes.objects.patch import parse_document

if TYPE_CHECKING:
    from aiohttp import web

LARGEST = 3 * 1024 * 1024
"""Bytes of a body, Kubernetes' own limit; a build's context is not bound by it."""

_JSON, _YAML = "application/json", "application/yaml"


async def read_document(request: web.Request) -> dict[str, Any]:
    """The object in the body.

    Raises:
        ApiError: 400 or 415.
    """
    body = await request.read()
    if request.headers.get("Content-Type") and request.content_type not in {_JSON, _YAML}:
        raise unsupported_media_type(_JSON, _YAML)
    if not body:
        raise bad_request("the body of the request is empty")
    return parse_document(body)


async def read_options(request: web.Request) -> dict[str, Any]:
    """The options in the body of a DELETE, which may be empty."""
    body = await request.read()
    return parse_document(body) if body else {}
