"""The official client's asyncio half: ``kubernetes.aio`` with its ``WsApiClient``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import CoreV1Api
from kubernetes.aio.stream import WsApiClient
from tests.benchmarks.exec_peers.raw_aiohttp import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.benchmarks.target import Target

_STDOUT, _ERROR = 1, 3

_CONNECTIONS = 1000
"""Instead of its own default of 100, so that 500 commands can be open."""


class OfficialAsyncio:
    def __init__(self, api: Any, target: Target) -> None:
        self._api = api
        self._target = target

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[OfficialAsyncio]:
        configuration = await load(target.kubeconfig)
        configuration.connection_pool_maxsize = _CONNECTIONS
        async with WsApiClient(configuration=configuration) as client:  # type: ignore[no-untyped-call]  # ships no types
            yield cls(CoreV1Api(client), target)

    async def run(self, text: str, *, on_output: Callable[[], None] = lambda: None) -> int:
        opening = await self._api.connect_get_namespaced_pod_exec_without_preload_content(
            self._target.pod,
            self._target.namespace,
            container="main",
            command=["bash", "-c", text],
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
        )
        async with opening as websocket:
            async for message in websocket:
                channel, data = message.data[0], message.data[1:]
                if channel == _ERROR:
                    return int(WsApiClient.parse_error_data(data))  # type: ignore[no-untyped-call]  # ships no types
                if channel == _STDOUT and data:
                    on_output()
        raise ConnectionError("the stream ended without a status")

    def requests(self) -> int | None:
        return None
