"""Values that must not be found, and the looking for them; knows nothing of how they are taken out."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
import uuid
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

NAMES = (
    "SHELL_API_KEY",  # of the shell that ran `local up`; nothing mentions it
    "AGENT_TOKEN",  # --ae
    "TASK_SECRET",  # [environment].env
    "TASK_PLAIN",  # the same, given on under a telling name: API_KEY = "${TASK_PLAIN}"
    "VERIFIER_TOKEN",  # [verifier].env
    "SOLUTION_PASSWORD",  # [solution].env
    "STORED",  # `secrets set`
    "MANAGED",  # `secrets set --secretsmanager`
)
"""Variables of the worker, by the place where each is put."""

MARK = "LEAKING_COMMAND"
"""A variable of the commands that are given the canaries."""

EGG = b"canary"
"""What every value begins with."""

LOOK_SECONDS = 0.2
"""How often processes are looked at; the commands that are given canaries last for seconds."""


def hatch() -> dict[str, str]:
    """A canary for each place."""
    return {name: f"{EGG.decode()}{uuid.uuid4().hex}" for name in NAMES}


def found_in(haystack: bytes, canaries: dict[str, str]) -> set[str]:
    """Whose values are in there, as they are, in hexadecimal or in base64."""
    return {name for name, value in canaries.items() if any(form in haystack for form in _forms(value.encode()))}


def _forms(value: bytes) -> Iterator[bytes]:
    yield from (value, value.hex().encode())
    for before in range(3):
        yield base64.b64encode(b" " * before + value + b" " * 3)[4:-8]


@dataclass
class Wire:
    """A proxy on loopback that keeps what clients say; answers are not kept."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    said: list[bytearray] = field(default_factory=list)
    """By connection."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _relays: list[asyncio.Task[None]] = field(default_factory=list)

    @contextmanager
    def tapped(self) -> Iterator[int]:
        """Its port."""
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        thread.start()
        loop, over, port = ready.result(30)
        try:
            yield port
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()

    async def _serve(self, ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]]) -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        ready.set_result((asyncio.get_running_loop(), over, server.sockets[0].getsockname()[1]))
        await over.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._relays, return_exceptions=True)
        await asyncio.sleep(0.1)  # for the transports to close

    async def _relay(self, heard: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.said.append(kept)
        self._relays.append(cast("asyncio.Task[None]", asyncio.current_task()))
        self._writers.append(answering)
        with suppress(OSError):
            answers, saying = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
            self._writers.append(saying)
            await asyncio.gather(_pump(heard, saying, kept), _pump(answers, answering, None))
        answering.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray | None) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            if kept is not None:
                kept += data
            target.write(data)
            await target.drain()
    target.close()


@dataclass
class Processes:
    """What the processes of this machine show of the canaries under /proc."""

    canaries: dict[str, str]
    command_lines: set[tuple[str, bytes]] = field(default_factory=set)
    """Canaries, and the command lines that they were in."""
    environments: set[tuple[str, bytes, bool]] = field(default_factory=set)
    """Canaries, the command lines of processes in pods that had them, and whether those were meant to."""
    looks: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _watch(self, done: threading.Event) -> None:
        ours = Path("/proc/self/ns/mnt").readlink()
        while not done.is_set():
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._look(process, in_pod=(process / "ns/mnt").readlink() != ours)
            time.sleep(LOOK_SECONDS)

    def _look(self, process: Path, *, in_pod: bool) -> None:
        command = (process / "cmdline").read_bytes()
        if EGG in command:
            self.command_lines |= {(name, command) for name in found_in(command, self.canaries)}
        if in_pod and EGG in (environment := (process / "environ").read_bytes()):
            meant = f"{MARK}=".encode() in environment
            self.environments |= {(name, command, meant) for name in found_in(environment, self.canaries)}
