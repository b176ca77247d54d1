"""The proxy itself, before a server that is simple enough to know what must arrive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.chaos.faults import Answer, Cut, Direction, ExpireToken, HalfOpen, Later, Part, Place, Stall, Throttle, Words
from tests.chaos.proxy import HOST, ChaosProxy
from tests.chaos.schedule import Listed, Weather

from harbor_aws.infra.local.kubernetes.api.certificate import ServerCertificate
from harbor_aws.infra.local.kubernetes.api.kubeconfig import write_kubeconfig
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.chaos.faults import Fault

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nAuthorization: Bearer %s\r\n\r\n"
HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
TOKEN = "of-the-server"
GENEROUS_SECONDS = 20.0


class Echo:
    """A server over TLS that answers a head, and then sends back whatever it gets."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.received = bytearray()
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(HEAD)
            while data := await reader.read(65536):
                self.received += data
                writer.write(data)
                await writer.drain()
        self.ended.set()
        writer.transport.abort()


class Client:
    """One connection to the proxy."""

    def __init__(self, proxy: ChaosProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy, self.reader, self.writer = proxy, reader, writer

    @property
    def request(self) -> bytes:
        token: str = kubeconfig_of(self.proxy)["users"][0]["user"]["token"]
        return REQUEST % token.encode()

    async def rest(self) -> bytes:
        """All that still comes until the connection ends by FIN."""
        async with asyncio.timeout(GENEROUS_SECONDS):
            return await self.reader.read()


@pytest_asyncio.fixture
async def echo(tmp_path: Path) -> AsyncIterator[tuple[Echo, ChaosProxy]]:
    """An echo server, and the proxy before it."""
    server = Echo()
    certificate = ServerCertificate.make(HOST)
    listening = await asyncio.start_server(server.serve, HOST, 0, ssl=certificate.context)
    url = f"https://{HOST}:{listening.sockets[0].getsockname()[1]}"
    write_kubeconfig(tmp_path / "server", server=url, token=TOKEN, certificate=certificate.pem, namespace="default")
    access = KubernetesAccess(kubeconfig=tmp_path / "server")
    async with listening, ChaosProxy.open(access, kubeconfig=tmp_path / "proxy") as proxy:
        yield server, proxy


def kubeconfig_of(proxy: ChaosProxy) -> Any:
    assert proxy.access.kubeconfig
    return json.loads(proxy.access.kubeconfig.read_text())


def port_of(proxy: ChaosProxy) -> int:
    return int(kubeconfig_of(proxy)["clusters"][0]["cluster"]["server"].rsplit(":", 1)[1])


@contextlib.asynccontextmanager
async def connected(proxy: ChaosProxy, *faults: Fault) -> AsyncIterator[Client]:
    proxy.schedule = Listed(faults)
    reader, writer = await asyncio.open_connection(HOST, port_of(proxy))
    try:
        yield Client(proxy, reader, writer)
    finally:
        writer.transport.abort()


async def test_without_a_fault_all_passes(echo: tuple[Echo, ChaosProxy]) -> None:
    """A calm proxy changes nothing but the token."""
    server, proxy = echo
    async with connected(proxy) as client:
        data = bytes(range(256)) * 4096
        client.writer.write(client.request + data)
        async with asyncio.timeout(GENEROUS_SECONDS):
            assert await client.reader.readexactly(len(HEAD) + len(data)) == HEAD + data
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in server.requests[0]
    assert server.requests[0].count(b"Authorization") == 1
    assert not proxy.counts


@pytest.mark.parametrize("count", [0, 1, 100, 70_000])
async def test_a_cut_downstream_passes_exactly_so_many_bytes(echo: tuple[Echo, ChaosProxy], count: int) -> None:
    """A cut by FIN behind byte n passes n bytes and not one more, and is counted."""
    _, proxy = echo
    async with connected(proxy, Cut(Place(Direction.DOWN, Part.BODY, count))) as client:
        data = bytes(range(256)) * 1000
        client.writer.write(client.request + data)
        assert await client.rest() == HEAD + data[:count]
    assert proxy.counts == {"cut within the output": 1}


@pytest.mark.parametrize("count", [0, 1, 100, 70_000])
async def test_a_cut_upstream_passes_exactly_so_many_bytes(echo: tuple[Echo, ChaosProxy], count: int) -> None:
    """The server gets n bytes and not one more."""
    server, proxy = echo
    async with connected(proxy, Cut(Place(Direction.UP, Part.BODY, count))) as client:
        client.writer.write(client.request + bytes(100_000))
        async with asyncio.timeout(GENEROUS_SECONDS):
            await server.ended.wait()
    assert bytes(server.received) == bytes(count)
    assert proxy.counts == {"cut within stdin": 1}


async def test_a_cut_within_the_heads(echo: tuple[Echo, ChaosProxy]) -> None:
    """A request that was cut never arrives; an answer that was cut leaves a part of its head."""
    server, proxy = echo
    async with connected(proxy, Cut(Place(Direction.UP, Part.HEAD, 10))) as client:
        client.writer.write(client.request)
        assert await client.rest() == b""
    assert server.requests == []
    async with connected(proxy, Cut(Place(Direction.DOWN, Part.HEAD, 10))) as client:
        client.writer.write(client.request)
        assert await client.rest() == HEAD[:10]
    assert len(server.requests) == 1


async def test_a_reset_is_a_reset(echo: tuple[Echo, ChaosProxy]) -> None:
    """A cut by RST is an error for the client, and no end."""
    _, proxy = echo
    async with connected(proxy, Cut(Place(Direction.DOWN, Part.BODY, 5), reset=True)) as client:
        client.writer.write(client.request + b"0123456789")
        with pytest.raises(ConnectionResetError):
            await client.rest()
    assert proxy.counts == {"reset within the output": 1}


async def test_a_cut_behind_words(echo: tuple[Echo, ChaosProxy]) -> None:
    """The words pass, whichever way they come in pieces, and nothing behind them."""
    _, proxy = echo
    async with connected(proxy, Cut(Words(b"last"))) as client:
        client.writer.write(client.request + b"first la")
        await client.reader.readexactly(len(HEAD) + 8)
        client.writer.write(b"st and more")
        assert await client.rest() == b"st"


async def test_a_stall_goes_on(echo: tuple[Echo, ChaosProxy]) -> None:
    """After a stall everything comes."""
    _, proxy = echo
    async with connected(proxy, Stall(Place(Direction.DOWN, Part.BODY, 3), seconds=0.5)) as client:
        client.writer.write(client.request + b"012345")
        began = asyncio.get_running_loop().time()
        assert await client.reader.readexactly(len(HEAD) + 6) == HEAD + b"012345"
        assert asyncio.get_running_loop().time() - began >= 0.5
    assert proxy.counts == {"stalled within the output": 1}


async def test_a_throttle_slows(echo: tuple[Echo, ChaosProxy]) -> None:
    """So many bytes take their time, and all of them come."""
    _, proxy = echo
    async with connected(proxy, Throttle(bytes_per_second=20_000)) as client:
        began = asyncio.get_running_loop().time()
        client.writer.write(client.request + bytes(10_000))
        async with asyncio.timeout(GENEROUS_SECONDS):
            assert await client.reader.readexactly(len(HEAD) + 10_000) == HEAD + bytes(10_000)
        assert asyncio.get_running_loop().time() - began >= 0.5


async def test_half_open_says_nothing_more(echo: tuple[Echo, ChaosProxy]) -> None:
    """Neither side hears anything or sees an end, until the client leaves."""
    server, proxy = echo
    async with connected(proxy, HalfOpen(Place(Direction.DOWN, Part.BODY, 3))) as client:
        client.writer.write(client.request + b"012345")
        assert await client.reader.readexactly(len(HEAD) + 3) == HEAD + b"012"
        client.writer.write(b"6789")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.reader.read(1)
        assert not server.ended.is_set()
        assert bytes(server.received) == b"012345"
    async with asyncio.timeout(GENEROUS_SECONDS):
        await server.ended.wait()


async def test_a_cut_after_a_time(echo: tuple[Echo, ChaosProxy]) -> None:
    """An idle connection is cut too."""
    _, proxy = echo
    async with connected(proxy, Cut(Later(0.2))) as client:
        client.writer.write(client.request)
        assert await client.rest() == HEAD


async def test_an_answer_in_place_of_the_servers(echo: tuple[Echo, ChaosProxy]) -> None:
    """The client is told an error, and the server nothing."""
    server, proxy = echo
    async with connected(proxy, Answer(503)) as client:
        client.writer.write(client.request)
        assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
    assert server.requests == []
    assert proxy.counts == {"answered 503": 1}


async def test_a_token_that_is_over(echo: tuple[Echo, ChaosProxy]) -> None:
    """The old token is refused from now on, and the one that is in the kubeconfig then is good."""
    server, proxy = echo
    async with connected(proxy, ExpireToken()) as client:
        old = client.request
        client.writer.write(old)
        assert (await client.rest()).startswith(b"HTTP/1.1 401 ")
    async with connected(proxy) as client:
        client.writer.write(old)
        assert (await client.rest()).startswith(b"HTTP/1.1 401 ")
    assert server.requests == []
    async with connected(proxy) as client:
        assert client.request != old
        client.writer.write(client.request)
        assert await client.reader.readexactly(len(HEAD)) == HEAD


async def test_a_request_after_an_upgrade_that_was_refused(echo: tuple[Echo, ChaosProxy]) -> None:
    """A client may use the connection again: its next request has the server's token, too."""
    _, proxy = echo
    async with connected(proxy) as client:
        client.writer.write(client.request)
        async with asyncio.timeout(GENEROUS_SECONDS):
            await client.reader.readexactly(len(HEAD))
            client.writer.write(client.request)
            again = await client.reader.readuntil(b"\r\n\r\n")
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in again


async def test_all_at_once(echo: tuple[Echo, ChaosProxy]) -> None:
    """Connections that have no fault of their own are cut when all are."""
    _, proxy = echo
    async with connected(proxy) as one, connected(proxy) as other:
        for client in (one, other):
            client.writer.write(client.request)
            await client.reader.readexactly(len(HEAD))
        assert proxy.cut_all() == 2
        assert (await one.rest(), await other.rest()) == (b"", b"")


async def test_away(echo: tuple[Echo, ChaosProxy]) -> None:
    """A server that is away resets what there is and refuses what comes, and is back at the same place, which nobody
    else can take meanwhile."""
    _, proxy = echo
    async with connected(proxy) as client:
        client.writer.write(client.request)
        await client.reader.readexactly(len(HEAD))
        async with proxy.away():
            with pytest.raises(ConnectionResetError):
                await client.rest()
            with pytest.raises(ConnectionRefusedError):
                async with connected(proxy):
                    pass
            with pytest.raises(OSError, match="in use"), socket.create_server((HOST, port_of(proxy))):
                pass
    async with connected(proxy) as client:
        client.writer.write(client.request)
        assert await client.reader.readexactly(len(HEAD)) == HEAD


def test_a_seed_is_a_schedule() -> None:
    """The same seed gives the same faults; another one others; about every second connection meets one."""

    def drawn(seed: int) -> list[Fault | None]:
        weather = Weather(seed)
        return [weather() for _ in range(1000)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 400 < sum(fault is not None for fault in drawn(1)) < 600
    assert sum(isinstance(fault, HalfOpen) for fault in drawn(1)) < 40
