"""How a cluster is reached: server, TLS and token, and the only module that imports ``kubernetes``.

They come from the official client's configuration (a kubeconfig, or the pod's own service account), or from a stack's
outputs and AWS's credentials.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from harbor_aws.infra.eks import EksToken
from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kubernetes.aio.client import Configuration

    from harbor_aws.infra.stack import EksCluster, KubernetesAccess


_loading = Lock()
_TURN_SECONDS = 0.01


async def log_in(access: KubernetesAccess) -> tuple[Configuration, ssl.SSLContext]:
    """Server and token, and the certificates; made together, since certificates are in files for this moment only.

    Raises:
        UsageError: there is no such kubeconfig, or it cannot be used.
    """
    # Importing the client takes a second, which commands that never reach the cluster are spared.
    from kubernetes.aio.client import Configuration

    configuration = Configuration()
    try:
        async with _alone():
            with _certificate_files_removed():
                await _configure(configuration, access)
                return configuration, _ssl_context(configuration)
    except Exception as error:  # TypeError: no such file; ValueError, KeyError …: what an exec plugin answers
        eks = access.eks and f"AWS's credentials ({access.eks.name} in {access.eks.region})"
        place = eks or access.kubeconfig or "the pod's service account"
        raise UsageError(f"The cluster cannot be reached by {place}: {error}") from error


async def _configure(configuration: Configuration, access: KubernetesAccess) -> None:
    from kubernetes.aio import config as kubernetes_config

    if access.eks is not None:
        await _configure_for_eks(configuration, access.eks)
    elif access.kubeconfig is None:
        kubernetes_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # ships no types
    else:
        await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]  # ships no types
            config_file=str(access.kubeconfig),
            context=access.context,
            client_configuration=configuration,
            persist_config=False,
        )


async def _configure_for_eks(configuration: Configuration, cluster: EksCluster) -> None:
    """Without a file; the token is made now, so that missing credentials are known before the first request."""
    token = EksToken(cluster)

    async def put_token(target: Configuration) -> None:
        target.api_key["BearerToken"] = f"Bearer {await token.current()}"

    configuration.host = cluster.endpoint
    configuration.ca_cert_data = base64.b64decode(cluster.certificate_authority).decode()
    configuration.refresh_api_key_hook = put_token  # type: ignore[assignment]  # it is declared by its None alone
    await put_token(configuration)


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """One at a time in this process, whatever loop it runs in: what the official client remembers is the process's."""
    while not _loading.acquire(blocking=False):  # noqa: ASYNC110 - an event tells other threads' loops nothing
        await asyncio.sleep(_TURN_SECONDS)
    try:
        yield
    finally:
        _loading.release()


@contextmanager
def _certificate_files_removed() -> Iterator[None]:
    """Remove the files that the official client writes meanwhile, and what it remembers of them.

    It writes what a kubeconfig or a plugin says of certificates and keys to the directory of temporary files, for
    OpenSSL to read. It leaves them there for the process's next load and removes them at a regular exit, so a killed
    process leaves them (``_temp_files`` in its ``config/kube_config.py``).
    """
    from kubernetes.aio.config import kube_config

    files: dict[str, str] = getattr(kube_config, "_temp_files", {})  # private: no reason to refuse a newer client
    before = set(files)
    try:
        yield
    finally:
        for content in files.keys() - before:
            Path(files.pop(content)).unlink(missing_ok=True)


def _ssl_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
