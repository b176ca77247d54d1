"""The API server behind the proxy: where it is, and the credentials that the proxy has for it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration

if TYPE_CHECKING:
    from harbor_aws.infra.stack import KubernetesAccess

HEAD_LIMIT_BYTES = 256 * 1024
"""An exec's argv is in its URL."""

_SHUTDOWN_SECONDS = 1.0


@dataclass(frozen=True)
class Upstream:
    """Made from the same kubeconfig that a client without a proxy would use.

    Attributes:
        token: what requests are to carry; ``None`` if it is TLS that tells who the client is.
    """

    host: str
    port: int
    context: ssl.SSLContext
    token: str | None

    @classmethod
    async def read(cls, access: KubernetesAccess) -> Self:
        configuration = Configuration()
        await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]  # ships no types
            config_file=str(access.kubeconfig), context=access.context, client_configuration=configuration
        )
        server = urlsplit(configuration.host)
        settings = await configuration.auth_settings()
        bearer = str(settings.get("BearerToken", {}).get("value", "")).removeprefix("Bearer ")
        return cls(
            host=server.hostname or "", port=server.port or 443, context=_tls(configuration), token=bearer or None
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises: OSError: the server is not there."""
        return await asyncio.open_connection(
            self.host,
            self.port,
            ssl=self.context,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            limit=HEAD_LIMIT_BYTES,
        )


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
