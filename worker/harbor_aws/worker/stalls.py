"""When this process stood still: frozen with its node or by a signal, or starved of CPU."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0

NOTED_SECONDS = 2.0
"""A loop that is later than this has stood still. What merely is busy, as Harbor is where it scrubs the files of a
trial, takes less."""

KEPT = 1000
"""Stalls that are remembered; of more, the oldest are forgotten."""


class Stalls:
    """Belongs to one event loop. What is due after a stall is run in the order of its time, so a time-out that ran out
    within one finds it noted.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stalls: deque[tuple[float, float]] = deque(maxlen=KEPT)

    @classmethod
    @asynccontextmanager
    async def watched(cls) -> AsyncIterator[Stalls]:
        """Watch this loop for the length of an ``async with``."""
        stalls = cls()
        watching = asyncio.create_task(stalls.watch(), name="harbor-aws stalls")
        try:
            yield stalls
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def watch(self) -> None:
        """Look at the clock, for ever."""
        while True:
            before = self._clock()
            await asyncio.sleep(TICK_SECONDS)
            late = self._clock() - before - TICK_SECONDS
            if late > NOTED_SECONDS:
                self.note(late)
                logger.warning("This worker stood still for %.0f s.", late, extra={"action": "stall"})

    def note(self, seconds: float) -> None:
        """A stall has just ended."""
        now = self._clock()
        self._stalls.append((now - seconds, now))

    def since(self, moment: float) -> Iterator[tuple[float, float]]:
        """When each stall that ended after a moment of the clock began and ended, in its seconds."""
        return ((began, ended) for began, ended in self._stalls if ended >= moment)
