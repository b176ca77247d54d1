"""A container's log: what its first process printed, kept in two files of bounded size."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SEGMENT_BYTES = 10 * 1024 * 1024
"""Size at which the file is rotated, the kubelet's ``containerLogMaxSize``; one older file is kept."""
_CHUNK_BYTES = 65536


class ContainerLog:
    """Takes the output of a pipe, and lets any number of readers follow it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._file: int | None = None
        self._older_start = 0
        self._start = 0
        self._end = 0
        """Where the older file, the file and the log begin and end, counted from the first byte ever printed."""
        self._pipe: int | None = None
        self._changed = asyncio.Event()

    def open(self) -> int:
        """Begin (anew, when a container is started again); the descriptor to print to, which the caller closes."""
        self.close()
        self._older.unlink(missing_ok=True)
        self._older_start = self._start = self._end
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._pipe, writer = os.pipe()
        os.set_blocking(self._pipe, False)
        asyncio.get_running_loop().add_reader(self._pipe, self._receive)
        return writer

    def write(self, data: bytes) -> None:
        """Add a line of our own after what has been printed so far."""
        self._receive(limit=None)
        self._append(data)
        self._notify()

    def tail(self, lines: int) -> str:
        """The last lines, at most 64 KiB of them."""
        self._receive(limit=None)
        return self._chunk(self._tail_position(lines))[0].decode(errors="replace")

    def drain(self) -> None:
        """Take what is in the pipe, without waiting for more: the container has ended."""
        self._receive(limit=None)
        self.close()

    def close(self) -> None:
        if self._pipe is not None:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._notify()

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)
        self._older.unlink(missing_ok=True)

    async def read(self, *, follow: bool, tail_lines: int | None, limit_bytes: int | None) -> AsyncIterator[bytes]:
        """The log from its oldest kept byte, or its last lines, and with ``follow`` what is printed until the end."""
        position = self._tail_position(tail_lines) if tail_lines is not None else self._older_start
        left = limit_bytes
        while left is None or left > 0:
            changed = self._changed
            chunk, position = self._chunk(position)
            if chunk:
                chunk = chunk if left is None else chunk[:left]
                left = None if left is None else left - len(chunk)
                yield chunk
            elif follow and self._pipe is not None:
                await changed.wait()
            else:
                return

    def _receive(self, limit: int | None = 16) -> None:
        """Move up to ``limit`` chunks from the pipe to the file."""
        while self._pipe is not None and self._file is not None and (limit is None or limit > 0):
            limit = None if limit is None else limit - 1
            try:
                data = os.read(self._pipe, _CHUNK_BYTES)
            except BlockingIOError:
                break
            if not data:
                self.close()
                return
            self._append(data)
        self._notify()

    def _append(self, data: bytes) -> None:
        if self._end - self._start + len(data) > SEGMENT_BYTES:
            self._rotate()
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk costs the log, not the pod
                os.write(self._file, data)
                self._end += len(data)

    def _rotate(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._path.replace(self._older)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._older_start, self._start = self._start, self._end

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _chunk(self, position: int) -> tuple[bytes, int]:
        position = max(position, self._older_start)
        path, start = (self._path, self._start) if position >= self._start else (self._older, self._older_start)
        try:
            with path.open("rb") as file:
                file.seek(position - start)
                data = file.read(_CHUNK_BYTES)
        except FileNotFoundError:
            data = b""
        if not data and position < self._start:
            return self._chunk(self._start)
        return data, position + len(data)

    def _tail_position(self, lines: int) -> int:
        """Where the last ``lines`` lines begin."""
        if lines == 0:
            return self._end
        wanted, position = lines + 1, self._end
        ends_line = True
        while position > self._older_start:
            start = max(position - _CHUNK_BYTES, self._older_start, self._start if position > self._start else 0)
            data = self._chunk(start)[0][: position - start]
            if ends_line and not data.endswith(b"\n"):
                wanted -= 1  # the last line has no end yet
            ends_line = False
            for index in range(len(data) - 1, -1, -1):
                if data[index] == 0x0A:
                    wanted -= 1
                    if wanted == 0:
                        return start + index + 1
            position = start
        return self._older_start
