"""A TCP proxy between a client and a Kubernetes API server that misbehaves on a schedule.

It listens on loopback without TLS, and relays to the server with TLS and the credentials of the server's kubeconfig.
Its clients have a kubeconfig of its own. What it does to a connection is one of :mod:`tests.chaos.faults`; besides
that it can cut all connections at once, and be away.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Self

from tests.chaos.admission import Admission
from tests.chaos.connection import Connection
from tests.chaos.schedule import calm
from tests.chaos.upstream import HEAD_LIMIT_BYTES, Upstream

from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.chaos.faults import Direction, Fault, Part
    from tests.chaos.schedule import Schedule

HOST = "127.0.0.1"


class ChaosProxy:
    """Make it with :meth:`open`.

    Attributes:
        schedule: asked once for each new connection which fault it meets; may be changed at any time.
        counts: how often each fault really happened.
        accepted: how many connections there were.
        passed: bytes that passed all of them, by direction and part.
    """

    def __init__(self, upstream: Upstream, *, namespace: str, kubeconfig: Path) -> None:
        self.schedule: Schedule = calm
        self.counts: Counter[str] = Counter()
        self.accepted = 0
        self.passed: Counter[tuple[Direction, Part]] = Counter()
        self._upstream = upstream
        self._namespace = namespace
        self._port = 0
        self._admission = Admission(kubeconfig)
        self._connections: set[Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._defects: list[Exception] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, access: KubernetesAccess, *, kubeconfig: Path) -> AsyncIterator[Self]:
        """Listen for the length of an ``async with``.

        Args:
            access: the way to the server without the proxy.
            kubeconfig: is written, for clients.

        Raises:
            ExceptionGroup: the proxy itself failed meanwhile.
        """
        proxy = cls(await Upstream.read(access), namespace=access.namespace, kubeconfig=kubeconfig)
        with _held_port() as proxy._port:
            await proxy._listen()
            proxy._admission.open(f"http://{HOST}:{proxy._port}")
            try:
                yield proxy
            finally:
                proxy._listener.close()
                proxy.cut_all()
                await asyncio.gather(*proxy._serving, return_exceptions=True)
        if proxy._defects:
            raise ExceptionGroup("the proxy itself failed", proxy._defects)

    @property
    def access(self) -> KubernetesAccess:
        """The way to the cluster through this proxy."""
        return KubernetesAccess(kubeconfig=self._admission.kubeconfig, namespace=self._namespace)

    @property
    def standing(self) -> int:
        """How many connections :meth:`cut_all` would cut."""
        return len(self._connections)

    def cut_all(self, *, reset: bool = False) -> int:
        """Cut all connections at once; how many there were."""
        cut, self._connections = self._connections, set()
        for connection in cut:
            connection.cut(reset=reset)
        return len(cut)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """For the length of an ``async with`` there is no server: connections are reset, and new ones refused."""
        self.counts["server away"] += 1
        self.counts["reset, the server being away"] += self.cut_all(reset=True)
        self._listener.close()
        try:
            yield
        finally:
            await self._listen()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._accept, HOST, self._port, limit=HEAD_LIMIT_BYTES, backlog=1024, reuse_port=True
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        self.accepted += 1
        try:
            await self._serve((reader, writer), self.schedule())
        except OSError:
            writer.transport.abort()  # the server behind is not there
        except Exception as error:  # noqa: BLE001 - raised where the proxy is closed
            self._defects.append(error)
            writer.transport.abort()

    async def _serve(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], fault: Fault | None) -> None:
        connection = Connection(
            client,
            await self._upstream.connect(),
            fault=fault,
            admission=self._admission,
            server_token=self._upstream.token,
            struck=lambda happened: self.counts.update([str(happened)]),
            passed=self.passed,
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


@contextmanager
def _held_port() -> Iterator[int]:
    """A free port that stays one's own while nobody listens there; connections to it are refused then."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((HOST, 0))
        yield holder.getsockname()[1]
