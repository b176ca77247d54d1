"""Between a thread that reads or writes files and the loop that talks to the pod: a pipe, so memory stays bounded."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, BinaryIO

from harbor_aws.infra.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="harbor-aws-transfer")
"""Of our own: asyncio's has six threads on two cores, and a transfer holds one for as long as the network takes."""

_BUFFER_BYTES = 256 * 1024
_PIPE_BYTES = 64 * 1024  # what Linux lets a pipe hold


async def in_thread[T](work: Callable[[], T], *, known: tuple[type[OSError], ...] = ()) -> T:
    """Run something that works on this machine's files.

    Args:
        known: what means something to the caller, and is raised as it is.

    Raises:
        TransferError: these files could not be read or written (a full disk, no descriptor left).
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
    except known:
        raise
    except OSError as error:
        raise TransferError(f"The worker's own files failed a transfer: {error}") from error


@asynccontextmanager
async def produced(chunks: Callable[[], Iterable[bytes]]) -> AsyncIterator[asyncio.StreamReader]:
    """What a thread makes, to be read on the loop; an exception of the thread's is raised at the end.

    Raises:
        TransferError: as :func:`in_thread`.
    """
    reading, writing = os.pipe()
    reader = asyncio.StreamReader(limit=_BUFFER_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
    )

    def produce() -> None:
        with os.fdopen(writing, "wb", _PIPE_BYTES) as pipe:
            for chunk in chunks():
                pipe.write(chunk)

    producing = asyncio.ensure_future(in_thread(produce))
    try:
        yield reader
        await producing
    finally:
        transport.close()  # a thread that still writes gets a broken pipe
        await asyncio.gather(producing, return_exceptions=True)


@asynccontextmanager
async def consumed[T](
    consume: Callable[[BinaryIO], T],
) -> AsyncIterator[tuple[asyncio.StreamWriter, asyncio.Future[T]]]:
    """A writer on the loop for a thread to read from, and what comes of it."""
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(writing, "wb", 0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    def work() -> T:
        with os.fdopen(reading, "rb", _BUFFER_BYTES) as pipe:
            return consume(pipe)

    consuming = asyncio.ensure_future(in_thread(work))
    try:
        yield writer, consuming
    finally:
        if not transport.is_closing():
            transport.abort()
        await asyncio.gather(consuming, return_exceptions=True)
