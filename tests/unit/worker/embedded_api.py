"""The embedded Kubernetes' own API in this process, with a runtime that runs nothing: labels, leases and
preconditions are real."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from tests.unit.infra.fake_runtime import FakeRuntime
from tests.unit.worker.fake_kubernetes import kubeconfig

from harbor_aws.infra.local.kubernetes.api.application import Api
from harbor_aws.infra.local.kubernetes.control.cluster import Cluster as EmbeddedCluster
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp.typedefs import Handler

    Interfere = Callable[[web.Request], web.Response | None]


class Faults:
    """What a test lets go wrong."""

    def __init__(self) -> None:
        self.interfere: Interfere = lambda _request: None
        """Answers a request in the server's stead, unless it returns ``None``."""
        self.requests: list[web.Request] = []


@asynccontextmanager
async def serve_api(directory: Path) -> AsyncIterator[tuple[KubernetesAccess, Faults]]:
    """The server on loopback, and a kubeconfig for it in ``directory``."""
    faults = Faults()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        faults.requests.append(request)
        answer = faults.interfere(request)
        return answer if answer is not None else await handler(request)

    cluster = EmbeddedCluster(FakeRuntime())
    app = Api(cluster, token="t").application()
    app.middlewares.append(middleware)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield KubernetesAccess(kubeconfig=kubeconfig(directory, f"http://127.0.0.1:{runner.addresses[0][1]}")), faults
    finally:
        await cluster.close()
        await runner.cleanup()
