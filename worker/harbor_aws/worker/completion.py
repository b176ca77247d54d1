"""Work, and what a cancellation may do to it: nothing before its end, or end it and be remembered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
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


async def to_cancellation[T](work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, which is cancelled with the awaiting task; the cancellation is raised when ``work`` is over.

    It is raised as it came, with its message, also where ``work`` swallowed it or went on with another exception.
    """
    running = asyncio.create_task(_outcome(work))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
            running.cancel(*error.args)
    if cancelled is not None:
        raise cancelled
    return running.result()()


async def _outcome[T](work: Coroutine[Any, Any, T]) -> Callable[[], T]:
    """Gives the result, or raises. Within a task a SystemExit would end the loop."""
    try:
        result = await work
    except BaseException as error:  # noqa: BLE001 - raised in the task that awaits
        failure = error

        def fail() -> T:
            raise failure

        return fail
    return lambda: result
