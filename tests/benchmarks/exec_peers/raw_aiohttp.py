"""The floor: a WebSocket of aiohttp's, read until the server's status, and nothing else."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from tests.benchmarks.target import Target

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _ERROR = 1, 3


class RawAiohttp:
    shell: Sequence[str] = ("bash", "-c")

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        self._session = session
        self._url = url
        self._headers = headers

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[RawAiohttp]:
        configuration = await load(target.kubeconfig)
        url = f"{configuration.host}/api/v1/namespaces/{target.namespace}/pods/{target.pod}/exec"
        connector = aiohttp.TCPConnector(ssl=_ssl_context(configuration), limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield cls(session, url, await _authorization(configuration))

    async def run(self, text: str, *, on_output: Callable[[], None] = lambda: None) -> int:
        argv = [*self.shell, text]
        query = [("container", "main"), ("stdout", "true"), ("stderr", "true"), *(("command", word) for word in argv)]
        async with self._session.ws_connect(
            self._url, params=query, protocols=_PROTOCOLS, headers=self._headers, max_msg_size=0
        ) as websocket:
            async for message in websocket:
                channel, data = message.data[0], message.data[1:]
                if channel == _ERROR:
                    return exit_code(data)
                if channel == _STDOUT and data:
                    on_output()
        raise ConnectionError("the stream ended without a status")

    def requests(self) -> int | None:
        return None


class BareAiohttp(RawAiohttp):
    """Without a shell: the text is the name of a program."""

    shell = ()


async def load(kubeconfig: Path) -> Any:
    """The official client's settings for a kubeconfig."""
    configuration = Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]  # ships no types
        config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
    )
    return configuration


def exit_code(status: bytes) -> int:
    """The exit code in a ``Status``; one without any is a ``KeyError``."""
    content = json.loads(status)
    return 0 if content["status"] == "Success" else int(content["details"]["causes"][0]["message"])


def _ssl_context(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _authorization(configuration: Any) -> dict[str, str]:
    settings = await configuration.auth_settings()
    return {entry["key"]: entry["value"] for entry in settings.values() if entry["value"]}
