"""Plays the processes of a pod for :class:`~tests.unit.worker.fake_kubernetes.FakeKubernetes`."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiohttp import WSMsgType
from tests.unit.worker.fake_kubernetes import exit_status

if TYPE_CHECKING:
    from aiohttp import web


class FakeShell:
    """A command with ``hang`` in it goes on until its stream is closed, any other ends with 0 at once.

    Attributes:
        cuts: whether the stream of a command that hangs is cut.
        kill_code: exit code of what ends a command.
        hangs: set when a command hangs.
        argvs: every process that was asked for.
    """

    def __init__(self, *, cuts: bool = False, kill_code: int = 0) -> None:
        self.cuts = cuts
        self.kill_code = kill_code
        self.hangs = asyncio.Event()
        self.argvs: list[list[str]] = []

    async def __call__(self, socket: web.WebSocketResponse, argv: list[str]) -> None:
        self.argvs.append(argv)
        if argv != ["sh"]:
            await socket.send_bytes(exit_status(self.kill_code))
            return
        script = b""
        while not script.endswith(b"\n}\n"):
            script += (await socket.receive_bytes())[1:]
        found = re.search(rb"harbor-aws:[0-9a-f]{32}:", script)
        assert found
        await socket.send_bytes(b"\x01" + found[0] + b"start:0:")
        if b"hang" not in script:
            await socket.send_bytes(b"\x01" + found[0] + b"end:0:")
            await socket.send_bytes(b"\x02" + found[0] + b"end:0:")
            return
        self.hangs.set()
        while not self.cuts and (await socket.receive()).type is WSMsgType.BINARY:
            pass
