"""The way from a pod to an API server that listens on loopback: TLS in front, under an address that pods reach."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.api.certificate import ServerCertificate

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that listens."""

    host: str
    port: int
    certificate: str
    """PEM: who signed the certificate of the server that its clients see."""


@contextlib.contextmanager
def relay_to(server: tuple[str, int], *, listening_on: str) -> Iterator[Relay]:
    """Relay to a TLS server, whose certificate is not checked, for the length of a ``with``, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
    thread.start()

    def run[T](work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=30)

    certificate = ServerCertificate.make(listening_on)
    connections = _Connections(server)
    listener = run(asyncio.start_server(connections.serve, listening_on, 0, ssl=certificate.context))
    try:
        yield Relay(listening_on, listener.sockets[0].getsockname()[1], certificate.pem.decode())
    finally:
        listener.close()
        run(connections.end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Connections:
    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._serving: set[asyncio.Task[None]] = set()
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._relay(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def end(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both ways until one side ends: TLS closes both ways at once."""
        back, forth = await asyncio.open_connection(*self._server, ssl=self._tls)
        ways = [asyncio.ensure_future(_pump(reader, forth)), asyncio.ensure_future(_pump(back, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            forth.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
