"""Our end of a pipe or terminal, joined to the event loop. Nothing is buffered but by the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios

CHUNK_BYTES = 65536


class Pipe:
    """Our end of a pipe or terminal; one reader and one writer at a time, closed once."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._waiting: set[asyncio.Future[None]] = set()

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while self._descriptor is not None:
            try:
                return os.read(self._descriptor, CHUNK_BYTES)
            except BlockingIOError:
                await self._ready(self._descriptor, writing=False)
            except OSError:  # a terminal says so that nobody holds its other end any more
                return b""
        return b""

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._ready(self._descriptor, writing=True)
            except OSError:  # nobody reads it any more
                return

    async def _ready(self, descriptor: int, *, writing: bool) -> None:
        """Wait until the descriptor is ready, or closed by us: its number may be another's after that."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        add(descriptor, _finish, done)
        self._waiting.add(done)
        try:
            await done
        finally:
            self._waiting.discard(done)
            if self._descriptor is not None:
                remove(descriptor)

    def resize(self, *, width: int, height: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def close(self) -> None:
        if self._descriptor is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        loop.remove_writer(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None
        for done in self._waiting:
            _finish(done)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
