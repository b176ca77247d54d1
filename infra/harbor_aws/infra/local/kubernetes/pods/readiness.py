"""Waiting for a file descriptor on the event loop."""

from __future__ import annotations

import asyncio


async def ready(descriptor: int, *, writing: bool = False) -> None:
    """Wait until a descriptor can be read or written without blocking; one waiter for each at a time."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, wake)
    try:
        await done
    finally:
        remove(descriptor)
