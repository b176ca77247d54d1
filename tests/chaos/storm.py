"""What happens to all connections together while a test runs."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.chaos.proxy import ChaosProxy

LONGEST_AWAY_SECONDS = 3.0


@asynccontextmanager
async def storm(proxy: ChaosProxy, *, seed: int, every_seconds: float) -> AsyncIterator[None]:
    """For the length of an ``async with``, all streams are cut, or the server is away for a while, now and again."""
    blowing = asyncio.create_task(_blow(proxy, random.Random(seed), every_seconds))  # noqa: S311 - repeatable
    try:
        yield
    finally:
        blowing.cancel()
        await asyncio.gather(blowing, return_exceptions=True)


async def _blow(proxy: ChaosProxy, draw: random.Random, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds * draw.uniform(0.5, 1.5))
        if draw.random() < 0.6:
            proxy.counts["all streams cut at once"] += 1
            proxy.counts["cut with all the others"] += proxy.cut_all(reset=draw.random() < 0.5)
        else:
            async with proxy.away():
                await asyncio.sleep(draw.uniform(0.3, LONGEST_AWAY_SECONDS))
