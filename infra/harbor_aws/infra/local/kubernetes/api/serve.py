"""Running the embedded Kubernetes until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from harbor_aws.infra.local.kubernetes.api.application import Api
from harbor_aws.infra.local.kubernetes.api.certificate import ServerCertificate
from harbor_aws.infra.local.kubernetes.api.kubeconfig import write_kubeconfig
from harbor_aws.infra.local.kubernetes.control.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harbor_aws.infra.local.kubernetes.runtime import PodRuntime

_log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
NAMESPACE = "harbor-aws"


@asynccontextmanager
async def serving(runtime: PodRuntime, *, kubeconfig: Path, port: int = 0) -> AsyncIterator[str]:
    """Serve a new cluster inside the context; yields its URL.

    ``kubeconfig`` is there exactly while the server is. At the end every pod is stopped.

    Args:
        port: 0 means any that is free.

    Raises:
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(32)
    certificate = await asyncio.to_thread(ServerCertificate.make, ADDRESS)
    cluster = Cluster(runtime)
    app = Api(cluster, token=token).application()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=2.0)
    try:
        await runner.setup()
        site = web.TCPSite(runner, ADDRESS, port, ssl_context=certificate.context, backlog=1024)
        await site.start()
        url = f"https://{ADDRESS}:{runner.addresses[0][1]}"
        write_kubeconfig(kubeconfig, server=url, token=token, certificate=certificate.pem, namespace=NAMESPACE)
        _log.info("The embedded Kubernetes serves %s.", url, extra={"action": "serve", "url": url})
        yield url
    finally:
        await asyncio.to_thread(kubeconfig.unlink, missing_ok=True)
        await cluster.close()
        await runner.cleanup()
