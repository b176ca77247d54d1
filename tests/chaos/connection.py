"""One client's connection through the proxy, with at most one fault."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.chaos.faults import Answer, Cut, Direction, ExpireToken, HalfOpen, Idle, Later, Part, Stall, Throttle
from tests.chaos.heads import END, RequestHead, begins_request, refusal
from tests.chaos.tripwire import Tripwire

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.chaos.admission import Admission
    from tests.chaos.faults import Fault

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_ABORTIVE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no second: closing drops what is unsent and sends RST."""

_PIECE_BYTES = 64 * 1024
_CLOSE_SECONDS = 2.0
_THROTTLED_PIECES_PER_SECOND = 20


class Connection:
    """Bytes both ways, until the client or the server leaves or the fault ends it.

    Args:
        server_token: what the server is shown in place of the client's token.
        struck: called when the fault really happens, which it does not if its place is never reached.
        passed: is added to, by direction and part, what bytes pass.
    """

    def __init__(
        self,
        client: Streams,
        server: Streams,
        *,
        fault: Fault | None,
        admission: Admission,
        server_token: str | None,
        struck: Callable[[Fault], None],
        passed: Counter[tuple[Direction, Part]],
    ) -> None:
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        self._fault = fault
        self._admission = admission
        self._server_token = server_token
        self._struck = struck
        self._passed = passed
        self._where = fault.at if isinstance(fault, Cut | Stall | HalfOpen) else None
        self._tripwire = Tripwire(self._where)
        self._silent = False
        self._moved = asyncio.get_running_loop().time()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ended = asyncio.get_running_loop().create_future()
        self._by_reset = False

    async def run(self) -> None:
        """Relay to the end; both sides are closed then."""
        if isinstance(self._fault, Throttle):
            self._struck(self._fault)
        relaying = [asyncio.create_task(work) for work in (self._upstream(), self._downstream())]
        clock = asyncio.create_task(self._strike_later())
        try:
            await asyncio.wait([*relaying, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*relaying, clock):
                task.cancel()
            outcomes = await asyncio.gather(*relaying, clock, return_exceptions=True)
            await asyncio.gather(*(self._close(writer) for writer in (self._client_writer, self._server_writer)))
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                raise outcome

    def cut(self, *, reset: bool) -> None:
        """End it now."""
        if not self._ended.done():
            self._by_reset = reset
            self._ended.set_result(None)

    async def _upstream(self) -> None:
        ahead = b""
        try:
            while True:
                head, ahead = await self._next_head(ahead)
                if isinstance(self._fault, Answer):
                    self._struck(self._fault)
                    await self._refuse(self._fault.status)
                    return
                if isinstance(self._fault, ExpireToken):
                    self._struck(self._fault)
                    self._admission.renew()
                    self._fault = None
                if head.bearer != self._admission.token:
                    await self._refuse(401)
                    return
                await self._pass(head.authorized(self._server_token), Direction.UP, Part.HEAD)
                ahead = await self._relay_body(head, ahead)
        except asyncio.IncompleteReadError:
            return  # the client left between two requests, or within one

    async def _next_head(self, ahead: bytes) -> tuple[RequestHead, bytes]:
        """The next request's head, and what has been read beyond it."""
        while END not in ahead:
            data = await self._client_reader.read(_PIECE_BYTES)
            if not data:
                raise asyncio.IncompleteReadError(ahead, None)
            ahead += data
        head, _, rest = ahead.partition(END)
        return RequestHead(head + END), rest

    async def _relay_body(self, head: RequestHead, ahead: bytes) -> bytes:
        """Pass on a request's body, or all that follows it; what has been read of the next request."""
        left = head.body_bytes
        if left is not None:
            await self._pass(ahead[:left], Direction.UP, Part.BODY)
            await self._relay(self._client_reader, Direction.UP, limit=max(0, left - len(ahead)))
            return ahead[left:]
        data = ahead or await self._client_reader.read(_PIECE_BYTES)
        while data:
            if head.asks_for_upgrade and begins_request(data):
                return data  # no frame of a WebSocket: the server has refused, and this is another request
            await self._pass(data, Direction.UP, Part.BODY)
            data = await self._client_reader.read(_PIECE_BYTES)
        raise asyncio.IncompleteReadError(b"", None)

    async def _downstream(self) -> None:
        try:
            head = await self._server_reader.readuntil(END)
        except asyncio.IncompleteReadError as error:
            head = error.partial
        await self._pass(head, Direction.DOWN, Part.HEAD)
        await self._relay(self._server_reader, Direction.DOWN, limit=None)
        if self._silent:
            await _for_ever()

    async def _relay(self, reader: asyncio.StreamReader, direction: Direction, *, limit: int | None) -> None:
        """Pass on ``limit`` bytes, or all there are."""
        left = limit
        while left != 0 and (data := await reader.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES))):
            left = None if left is None else left - len(data)
            await self._pass(data, direction, Part.BODY)
        if left:
            raise asyncio.IncompleteReadError(b"", left)

    async def _pass(self, data: bytes, direction: Direction, part: Part) -> None:
        at = self._tripwire.reached(data, direction, part)
        await self._send(data[:at], direction)
        self._passed[direction, part] += len(data[:at])
        if at is not None:
            await self._strike()
            await self._send(data[at:], direction)
            self._passed[direction, part] += len(data[at:])

    async def _strike(self) -> None:
        """The fault happens. Returns where the connection goes on."""
        if self._fault is None:
            return
        self._struck(self._fault)
        match self._fault:
            case Cut(reset=reset):
                self.cut(reset=reset)
                await _for_ever()
            case Stall(seconds=seconds):
                self._flowing.clear()
                await asyncio.sleep(seconds)
                self._flowing.set()
            case HalfOpen():
                self._silent = True

    async def _strike_later(self) -> None:
        if isinstance(self._where, Later):
            await asyncio.sleep(self._where.seconds)
            await self._strike()
        if isinstance(self._fault, Idle):
            while (left := self._moved + self._fault.seconds - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(left)
            self._struck(self._fault)
            self.cut(reset=False)

    async def _send(self, data: bytes, direction: Direction) -> None:
        rate = self._fault.bytes_per_second if isinstance(self._fault, Throttle) else None
        step = max(1, rate // _THROTTLED_PIECES_PER_SECOND) if rate else len(data)
        for start in range(0, len(data), step or 1):
            await self._send_piece(data[start : start + step], direction)
            if rate:
                await asyncio.sleep(step / rate)

    async def _send_piece(self, data: bytes, direction: Direction) -> None:
        await self._flowing.wait()
        self._moved = asyncio.get_running_loop().time()
        if self._silent and direction is Direction.UP:
            return  # still read, so that the client's leaving is noticed
        if self._silent:
            await _for_ever()
        writer = self._server_writer if direction is Direction.UP else self._client_writer
        try:
            writer.write(data)
            await writer.drain()
        except OSError:
            if direction is Direction.UP:
                await _for_ever()  # the server left, and what it said before is still to be passed on
            raise

    async def _refuse(self, status: int) -> None:
        self._client_writer.write(refusal(status))
        await self._client_writer.drain()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        if self._by_reset:
            plug = writer.get_extra_info("socket")
            if plug is not None:  # else the other side has left by itself
                with suppress(OSError):
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTIVE)
            writer.transport.abort()
        writer.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await writer.wait_closed()
        except (TimeoutError, OSError):
            writer.transport.abort()


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
