"""Between the loop that talks to the pod and a thread that reads or writes files: queues of bounded size."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="harbor-aws-transfer")
"""Of our own: asyncio's has six threads on two cores, and a transfer holds one for as long as the network takes."""

_BATCH_BYTES = 1024 * 1024
"""How much is gathered for a thread before it is woken: to wake it, and to take turns at Python's lock, costs both."""

QUEUE_BYTES = 4 * 1024 * 1024
"""How much one queue holds before the side that fills it has to wait."""


class LocalFileError(TransferError):
    """This machine's own files failed a transfer; doing it again at once would fail in the same way."""


async def in_thread[T](work: Callable[[], T], *, known: tuple[type[OSError], ...] = ()) -> T:
    """Run something that works on this machine's files.

    Args:
        known: what means something to the caller, and is raised as it is.

    Raises:
        LocalFileError: these files could not be read or written (a full disk, no descriptor left).
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
    except known:
        raise
    except OSError as error:
        raise LocalFileError(f"The worker's own files failed a transfer: {error}") from error


class AbandonedError(Exception):
    """The other side of a queue is gone; whoever it was says why."""


class _Queue:
    """Pieces of bytes, held until taken; one side of it is the loop, the other a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._loop_may_go_on = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._abandoned = False

    def abandon(self) -> None:
        """Nobody takes, or gives, any more; from either side."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
        self._wake_loop()

    def _wake_loop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop_may_go_on.set)


class ToThread(_Queue):
    """Filled by the loop, read by a thread, which iterates over it."""

    async def put(self, piece: bytes) -> None:
        """Add a piece; waits while the queue is full.

        Raises:
            AbandonedError: the thread is gone.
        """
        with self._changed:
            self._pieces.append(piece)
            self._held += len(piece)
            full = self._held > QUEUE_BYTES
            if full:
                self._loop_may_go_on.clear()
            if self._held >= _BATCH_BYTES:
                self._changed.notify()
        if full and not self._abandoned:
            await self._loop_may_go_on.wait()
        if self._abandoned:
            raise AbandonedError

    def end(self) -> None:
        """There is nothing more."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not (self._pieces or self._ended or self._abandoned):
                    self._changed.wait()
                if self._abandoned:
                    raise AbandonedError
                if not self._pieces:
                    return
                pieces = list(self._pieces)
                self._pieces.clear()
                was_full, self._held = self._held > QUEUE_BYTES, 0
            if was_full:
                self._wake_loop()
            yield pieces[0] if len(pieces) == 1 else b"".join(pieces)


class FromThread(_Queue):
    """Filled by a thread, read by the loop."""

    def put(self, piece: bytes) -> None:
        """Add a piece; waits while the queue is full.

        Raises:
            AbandonedError: the loop does not read any more.
        """
        with self._changed:
            while self._held > QUEUE_BYTES and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise AbandonedError
            was_empty = not self._pieces
            self._pieces.append(piece)
            self._held += len(piece)
        if was_empty:
            self._wake_loop()

    def end(self) -> None:
        """There is nothing more."""
        with self._changed:
            self._ended = True
        self._wake_loop()

    async def get(self) -> bytes:
        """The next piece; empty at the end."""
        while True:
            with self._changed:
                if self._pieces:
                    piece = self._pieces.popleft()
                    self._held -= len(piece)
                    self._changed.notify()
                    return piece
                if self._ended or self._abandoned:
                    return b""
                self._loop_may_go_on.clear()
            await self._loop_may_go_on.wait()


@asynccontextmanager
async def produced(pieces: Callable[[], Iterable[bytes]]) -> AsyncIterator[FromThread]:
    """What a thread makes, to be read on the loop; an exception of the thread's is raised at the end.

    Raises:
        LocalFileError: as :func:`in_thread`.
    """
    queue = FromThread()

    def produce() -> None:
        try:
            for piece in pieces():
                if piece:
                    queue.put(piece)
        except AbandonedError:
            pass  # whoever was to read it says why
        finally:
            queue.end()

    producing = asyncio.ensure_future(in_thread(produce))
    try:
        yield queue
        await producing
    finally:
        queue.abandon()
        await asyncio.gather(producing, return_exceptions=True)


@asynccontextmanager
async def consumed[T](consume: Callable[[Iterable[bytes]], T]) -> AsyncIterator[tuple[ToThread, asyncio.Future[T]]]:
    """A queue to fill on the loop for a thread to read, and what comes of it."""
    queue = ToThread()

    def work() -> T:
        try:
            return consume(queue)
        finally:
            queue.abandon()

    consuming = asyncio.ensure_future(in_thread(work))
    try:
        yield queue, consuming
    finally:
        queue.abandon()
        await asyncio.gather(consuming, return_exceptions=True)
