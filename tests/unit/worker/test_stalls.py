"""A process that stood still knows it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from harbor_aws.worker import stalls
from harbor_aws.worker.stalls import Stalls

if TYPE_CHECKING:
    import pytest


async def test_a_stall_is_noted_before_what_was_due_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that did not run for a while: a time-out that ran out meanwhile finds the stall when it fires."""
    monkeypatch.setattr(stalls, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(stalls, "NOTED_SECONDS", 0.1)
    async with Stalls.watched() as watched:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[float] = loop.create_future()
        await asyncio.sleep(0.1)
        began = time.monotonic()
        loop.call_later(0.2, lambda: found.set_result(watched.longest_since(began)))
        time.sleep(0.5)
        await asyncio.sleep(0.05)
        assert await found > 0.3
        assert watched.longest_since(time.monotonic()) == 0.0


def test_what_was_before_does_not_count() -> None:
    """An attempt asks for what ended after it began."""
    watched = Stalls(clock=lambda: 100.0)
    watched.note(30.0)
    assert watched.longest_since(100.0) == 30.0
    assert watched.longest_since(100.1) == 0.0
