"""The API as an aiohttp application: who may ask, what they asked, and errors as ``Status`` objects."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from harbor_aws.infra.local.kubernetes.api import image_builds
from harbor_aws.infra.local.kubernetes.api.bodies import LARGEST
from harbor_aws.infra.local.kubernetes.api.discovery import documents
from harbor_aws.infra.local.kubernetes.api.dispatch import find_handler
from harbor_aws.infra.local.kubernetes.api.metrics import RequestMetrics
from harbor_aws.infra.local.kubernetes.api.representation import dumps, json_response
from harbor_aws.infra.local.kubernetes.api.request_path import parse_path
from harbor_aws.infra.local.kubernetes.objects.api_errors import (
    ApiError,
    internal_error,
    method_not_allowed,
    unauthorized,
)

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.control.cluster import Cluster

_log = logging.getLogger(__name__)

_UNTIL_THE_CLIENT_LEAVES = {"WATCH": 200, "CONNECT": 101}
"""Verbs whose answers the client ends, and the codes that they began with."""

_PUBLIC = frozenset({"/healthz", "/livez", "/readyz", "/version"})


class Api:
    """Answers requests about one cluster."""

    def __init__(self, cluster: Cluster, *, token: str) -> None:
        self._cluster = cluster
        self._authorization = f"Bearer {token}".encode()
        self._metrics = RequestMetrics()
        self._documents: dict[str, bytes] = {}

    def application(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        labels = {"verb": request.method, "resource": "", "subresource": ""}
        code = 0  # as Kubernetes counts a request whose client left before the answer
        try:
            try:
                response = await self._serve(request, labels)
            except ApiError as error:
                response = _refusal(error)
            except web.HTTPRequestEntityTooLarge:
                message = f"Request entity too large: limit is {LARGEST}"
                response = _refusal(ApiError(413, "RequestEntityTooLarge", message))
            except ConnectionError:
                raise
            except Exception as error:
                _log.exception("%s %s failed.", request.method, request.path, extra={"action": "serve"})
                if request.writer.output_size:
                    raise ConnectionAbortedError("the answer had begun: it can only be cut") from error
                response = _refusal(internal_error(repr(error)))
            code = response.status
            return response
        except asyncio.CancelledError:
            code = _UNTIL_THE_CLIENT_LEAVES.get(labels["verb"], code)
            raise
        finally:
            self._metrics.count(**labels, code=code)

    async def _serve(self, request: web.Request, labels: dict[str, str]) -> web.StreamResponse:
        path = request.path
        if path not in _PUBLIC and not self._is_authorized(request):
            raise unauthorized()
        if path in _PUBLIC and path != "/version":
            return web.Response(text="ok")
        if path == "/metrics":
            return web.Response(body=self._metrics.render(), headers={"Content-Type": self._metrics.content_type})
        if path == image_builds.PATH:
            labels["resource"] = "images"
            if request.method != "POST":
                raise method_not_allowed()
            return await image_builds.build_image(request, self._cluster.runtime)
        if document := self._document(request):
            return json_response(document)
        target = parse_path(path)
        labels |= {"resource": target.resource.plural, "subresource": target.subresource}
        labels["verb"], handler = find_handler(request, target)
        return await handler(request, self._cluster, target)

    def _is_authorized(self, request: web.Request) -> bool:
        sent = request.headers.get("Authorization", "")
        return hmac.compare_digest(sent.encode("utf-8", "surrogateescape"), self._authorization)

    def _document(self, request: web.Request) -> bytes | None:
        if request.method != "GET":
            return None
        if not self._documents:
            self._documents = {path: dumps(document) for path, document in documents(request.host).items()}
        return self._documents.get(request.path.rstrip("/"))


def _refusal(error: ApiError) -> web.Response:
    return json_response(error.status(), status=error.code)
