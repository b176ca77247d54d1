"""A process that stood still knows it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
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
        await asyncio.sleep(0.1)
        began = time.monotonic()

        async def run_out_of_time() -> list[tuple[float, float]]:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await asyncio.Event().wait()
            return list(watched.since(began))

        running_out = asyncio.create_task(run_out_of_time())
        await asyncio.sleep(0)
        time.sleep(0.5)
        assert max(ended - stood for stood, ended in await running_out) > 0.3
        assert list(watched.since(time.monotonic())) == []


def test_what_was_before_does_not_count() -> None:
    """An attempt asks for what ended after it began."""
    watched = Stalls(clock=lambda: 100.0)
    watched.note(30.0)
    assert list(watched.since(100.0)) == [(70.0, 100.0)]
    assert list(watched.since(100.1)) == []
