"""A process in a container, its pipes or terminal joined to the event loop. Nothing is buffered but the pipes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.runtime import ExecFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.infra.local.kubernetes.namespaces import Process

_CHUNK_BYTES = 65536


class _Pipe:
    """Our end of a pipe or terminal; one reader and one writer at a time, closed once."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._waiting: set[asyncio.Future[None]] = set()

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while self._descriptor is not None:
            try:
                return os.read(self._descriptor, _CHUNK_BYTES)
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


class ContainerProcess:
    """Implements :class:`~harbor_aws.infra.local.kubernetes.runtime.ExecProcess`."""

    def __init__(
        self, process: Process, *, stdin: int | None, stdout: int | None, stderr: int | None, terminal: int | None
    ) -> None:
        self._process = process
        self._terminal = _Pipe(terminal) if terminal is not None else None
        self._stdin = self._terminal or (_Pipe(stdin) if stdin is not None else None)
        self._stdout = self._terminal or (_Pipe(stdout) if stdout is not None else None)
        self._stderr = _Pipe(stderr) if stderr is not None else None

    async def write(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    def close_stdin(self) -> None:
        if self._stdin is not None and self._terminal is None:
            self._stdin.close()

    def stdout(self) -> AsyncIterator[bytes]:
        return _chunks(self._stdout)

    def stderr(self) -> AsyncIterator[bytes]:
        return _chunks(self._stderr)

    def resize(self, *, width: int, height: int) -> None:
        if self._terminal is not None:
            self._terminal.resize(width=width, height=height)

    async def wait(self) -> int:
        return await self._process.wait()

    def detach(self) -> None:
        for pipe in (self._stdin, self._stdout, self._stderr):
            if pipe is not None:
                pipe.close()


async def _chunks(pipe: _Pipe | None) -> AsyncIterator[bytes]:
    while pipe is not None and (data := await pipe.read()):
        yield data
    if pipe is not None:
        pipe.close()


def exec_failed(message: str) -> ExecFailedError:
    """What the kubelet says of a process that containerd and runc could not start."""
    return ExecFailedError(
        "error executing command in container: failed to exec in container: failed to start exec: OCI runtime exec "
        f"failed: exec failed: unable to start container process: {message}: unknown"
    )
