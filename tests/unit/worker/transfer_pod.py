"""Plays the processes of a pod for :class:`~tests.unit.worker.fake_kubernetes.FakeKubernetes`, on this machine.

A transfer's script runs as a process of this machine that finds only the tools of a made-up image, so that the scripts
are tested as they are. Streams can be cut, and their bytes changed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from aiohttp import WSMsgType
from tests.unit.worker.fake_kubernetes import exit_status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aiohttp import web

MINIMAL = ("sh", "head", "cat", "wc", "mkdir", "chmod", "rm", "mv")
"""Without these nothing can be transferred."""

FALLBACK = (*MINIMAL, "dd", "ln", "readlink", "stat", "touch", "rmdir", "tee", "sha256sum")
"""An image without tar."""

GNU = (*FALLBACK, "tar", "gzip", "openssl", "grep")

IMAGES = {"gnu": GNU, "busybox": None, "fallback": FALLBACK, "minimal": MINIMAL}


def make_image(directory: Path, name: str) -> Path:
    """A directory with the tools of one of :data:`IMAGES`: this machine's own, or BusyBox's."""
    tools = IMAGES[name]
    directory.mkdir()
    if tools is not None and name == "gnu":
        for tool in tools:
            (directory / tool).symlink_to(_program(tool))
        return directory
    busybox = _program("busybox")
    every = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    _link_all(directory, busybox, every if tools is None else tools)
    if tools is not None:  # BusyBox's shell finds all of BusyBox, whatever the image has
        (directory / "sh").unlink()
        (directory / "sh").symlink_to(_program("dash"))
    return directory


def _link_all(directory: Path, busybox: str, tools: Iterable[str]) -> None:
    for tool in tools:
        (directory / tool).symlink_to(busybox)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} on this machine")
    return found


class TransferPod:
    """Runs each exec's command with the tools of an image.

    Attributes:
        cut_after: how many bytes, in either direction, the next streams last; the last number counts for all further
            ones, and ``None`` is one that is not cut.
        change: how often a byte of what is sent or received is still to be changed.
        execs: how many there were.
    """

    def __init__(self, image: Path, *, user: int | None = None) -> None:
        self._image = image
        self._user = user
        self.cut_after: list[int | None] = [None]
        self.change = 0
        self.execs = 0

    async def __call__(self, socket: web.WebSocketResponse, argv: list[str]) -> None:
        self.execs += 1
        left = self.cut_after.pop(0) if len(self.cut_after) > 1 else self.cut_after[0]
        process = await asyncio.create_subprocess_exec(
            self._image / argv[0],
            *argv[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": str(self._image)},
            cwd="/",
            user=self._user,
        )
        session = _Session(self, socket, process, left)
        await session.run()


class _Session:
    def __init__(
        self, pod: TransferPod, socket: web.WebSocketResponse, process: asyncio.subprocess.Process, left: int | None
    ) -> None:
        self._pod = pod
        self._socket = socket
        self._process = process
        self._left = left
        self._cut = asyncio.Event()

    async def run(self) -> None:
        feeding = asyncio.create_task(self._feed())
        ending = asyncio.create_task(self._end())
        cutting = asyncio.create_task(self._cut.wait())
        await asyncio.wait({ending, cutting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (feeding, cutting, *(() if ending.done() else (ending,))):
            task.cancel()
        if self._cut.is_set():
            assert self._socket._req is not None
            assert self._socket._req.transport is not None
            self._socket._req.transport.abort()
        await asyncio.gather(feeding, ending, cutting, return_exceptions=True)
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        while await self._process.stdout.read(65536):
            pass
        await self._process.wait()

    def _passes(self, data: bytes) -> bytes:
        if self._pod.change and len(data) > 5000:
            self._pod.change -= 1
            data = data[:4000] + bytes([data[4000] ^ 1]) + data[4001:]
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._cut.set()
                return data[: self._left]
        return data

    async def _feed(self) -> None:
        assert self._process.stdin is not None
        async for message in self._socket:
            assert message.type is WSMsgType.BINARY
            self._process.stdin.write(self._passes(message.data[1:]))
            try:
                await self._process.stdin.drain()
            except ConnectionError:
                return
            if self._cut.is_set():
                return

    async def _end(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        await asyncio.gather(self._tell(b"\1", self._process.stdout), self._tell(b"\2", self._process.stderr))
        code = await self._process.wait()
        await self._socket.send_bytes(exit_status(code if code >= 0 else 128 - code))

    async def _tell(self, channel: bytes, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(32768):
            await self._socket.send_bytes(channel + self._passes(data))
            if self._cut.is_set():
                await asyncio.Event().wait()


def snapshot(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Name, kind, mode, whole seconds, content and number of names of all below a directory; pipes left out."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for directory, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(directory, name)  # noqa: PTH118 - of bytes
            status = os.lstat(path)
            key = path[len(top) + 1 :]
            if os.path.islink(path):  # noqa: PTH114 - of bytes
                found[key] = ("link", os.readlink(path))  # noqa: PTH115 - of bytes
            elif name in directories:
                found[key] = ("directory", status.st_mode & 0o7777, int(status.st_mtime))
            elif os.path.isfile(path):  # noqa: PTH113 - of bytes
                with open(path, "rb") as file:  # noqa: PTH123 - of bytes
                    content = file.read()
                found[key] = ("file", status.st_mode & 0o7777, int(status.st_mtime), content, status.st_nlink)
    return found
