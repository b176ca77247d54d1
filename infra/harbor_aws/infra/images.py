"""Building a task's image by the embedded Kubernetes: the client's half."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import ssl
import tarfile
import tempfile
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any

import aiohttp
import yaml

from harbor_aws.infra.errors import PermanentError, TransientError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess

_OWN_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
"""What says nothing of the context, but of this machine's disk and descriptors."""

_PATH = "/apis/harbor-aws.dev/v1/images"


async def build_image(
    access: KubernetesAccess, *, image: str, context: Path, on_log: Callable[[str], None] | None = None
) -> None:
    """Build the ``Dockerfile`` at the root of ``context`` into ``image``; no work if the cluster has that image.

    Args:
        on_log: called with pieces of the build's log as they come, not lines.

    Raises:
        PermanentError: an instruction failed or is not supported; the message names it.
        TransientError: the cluster did not answer, or the connection was cut.
        UsageError: the kubeconfig cannot be used.
    """
    with tempfile.TemporaryFile() as archive:
        try:
            await asyncio.to_thread(_pack, context, archive)
        except OSError as error:
            kind = TransientError if error.errno in _OWN_TROUBLE else PermanentError
            raise kind(f"The build context {context} cannot be read: {error}") from error
        try:
            async with _post(access, image, archive) as response:
                await _follow(response, image, on_log)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise TransientError(f"The build of {image} was cut off: {error!r}") from error


@asynccontextmanager
async def _post(access: KubernetesAccess, image: str, archive: IO[bytes]) -> AsyncIterator[aiohttp.ClientResponse]:
    server, token, context = await asyncio.to_thread(_read_kubeconfig, access)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.post(
            server + _PATH,
            params={"image": image},
            data=archive,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/x-tar"},
        ) as response,
    ):
        yield response


async def _follow(response: aiohttp.ClientResponse, image: str, on_log: Callable[[str], None] | None) -> None:
    if response.status != 200:
        text = (await response.text())[:1000]
        kind = TransientError if response.status >= 500 or response.status == 429 else PermanentError
        raise kind(f"The cluster does not build {image}: {response.status} {text}")
    last: dict[str, Any] = {}
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            last = json.loads(line)
            if on_log and "log" in last:
                on_log(last["log"])
    if "error" in last:
        raise PermanentError(f"The image {image} cannot be built: {last['error']}")
    if "image" not in last:
        raise TransientError(f"The build of {image} ended without saying how.")


def _pack(context: Path, archive: IO[bytes]) -> None:
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(context.iterdir()):
            tar.add(path, arcname=path.name, filter=_owned_by_root)
    archive.seek(0)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _read_kubeconfig(access: KubernetesAccess) -> tuple[str, str, ssl.SSLContext]:
    """Server, token and TLS, as the embedded Kubernetes writes them."""
    if access.kubeconfig is None:
        raise UsageError("Only the embedded Kubernetes builds images, and it is reached by a kubeconfig.")
    try:
        content = yaml.safe_load(access.kubeconfig.read_bytes())
        contexts = {one["name"]: one["context"] for one in content["contexts"]}
        chosen = contexts[access.context or content["current-context"]]
        cluster = {one["name"]: one["cluster"] for one in content["clusters"]}[chosen["cluster"]]
        user = {one["name"]: one["user"] for one in content["users"]}[chosen["user"]]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cluster["server"], user["token"], ssl.create_default_context(cadata=authority)
    except OSError as error:
        raise UsageError(f"The kubeconfig {access.kubeconfig} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{access.kubeconfig} is not the embedded Kubernetes' kubeconfig: {error!r}") from error
