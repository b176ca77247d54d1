"""Work that must not be cut in two by a cancellation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


async def to_completion[T](work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` to its end even if the awaiting task is cancelled meanwhile; the cancellation is raised then."""
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            if running.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001 - raised below, from the task itself
            break
    result = running.result()
    if cancelled is not None:
        raise cancelled
    return result
