"""A peer's process, seen from the one that compares them."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_REPOSITORY = Path(__file__).parents[2]
_ANSWER_BYTES = 2**22
_LAST_WORDS_SECONDS = 10.0


class PeerGaveUpError(Exception):
    """A peer did not answer in time, or ended."""


class PeerProcess:
    """Make it with :meth:`start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def start(cls, module: str, *arguments: str) -> AsyncIterator[PeerProcess]:
        """Run a module of this package for the length of an ``async with``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"tests.benchmarks.{module}",
            *arguments,
            cwd=_REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_ANSWER_BYTES,
        )
        try:
            yield cls(process)
        finally:
            await _end(process)

    async def ask(self, order: str, *, seconds: float, **arguments: Any) -> dict[str, Any]:
        """One order's answer.

        Raises:
            PeerGaveUpError: none came within ``seconds``; the process is of no more use.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both are pipes")
        self._process.stdin.write(json.dumps({"order": order, **arguments}).encode() + b"\n")
        try:
            async with asyncio.timeout(seconds):
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise PeerGaveUpError(f"no answer to {order} within {seconds:.0f} s") from error
        except ConnectionError as error:
            raise PeerGaveUpError(f"it ended before {order}") from error
        if not line:
            raise PeerGaveUpError(f"it ended at {order}")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its stdin, which ends it; kill it if that does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
