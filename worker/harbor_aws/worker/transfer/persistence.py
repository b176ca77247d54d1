"""How long a transfer goes on, and when it is done again."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import ExecError, TransferError
from harbor_aws.worker.exec.command import ShellMissingError
from harbor_aws.worker.outages import Silence
from harbor_aws.worker.transfer.threads import LocalFileError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

logger = logging.getLogger(__name__)

STALL_SECONDS = 60.0
"""How long the pod may neither take nor give a byte before the stream is given up."""

FINISH_SECONDS = 600.0
"""How long the pod may take to put away what it has received."""

PATIENCE_SECONDS = 300.0
"""How long a transfer that gets no further is begun anew: an API server is away for a minute or two when replaced."""

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


class Progress:
    """How far the attempts of one transfer have come.

    Args:
        on_outage: see :func:`persistently`.
    """

    def __init__(self, on_outage: Callable[[float], None]) -> None:
        self._clock = asyncio.get_running_loop().time
        self._silence = Silence(on_outage, self._clock)
        self._furthest = 0
        self._since = self._clock()
        self.attempts = 0
        self.pauses = 0
        """How often was paused since a transfer last came further than ever."""

    def begin(self) -> None:
        """An attempt begins."""
        self.attempts += 1
        self._silence.begin()

    def heard(self) -> None:
        """The pod said something."""
        self._silence.end()

    def cut(self) -> None:
        """An attempt failed, or is not waited for any more: nothing came of it since it last came further."""
        self._silence.begin(since=self._since)

    def end(self) -> None:
        """There is no further attempt."""
        self._silence.end()

    def reached(self, size: int) -> None:
        """An attempt has come to this byte. Only one that comes further than all before it is progress."""
        if size > self._furthest:
            self._furthest = size
            self._since = self._clock()
            self.pauses = 0

    @property
    def idle_seconds(self) -> float:
        return self._clock() - self._since


async def persistently[T](
    attempt: Callable[[Progress], Awaitable[T]],
    *,
    patience_seconds: float,
    what: str,
    on_outage: Callable[[float], None] = lambda _: None,
) -> T:
    """Do a transfer that was cut, or came out wrong, again from the start: doing it twice does no harm.

    Args:
        on_outage: called each time that the pod was not heard of for a while, once it is again or the transfer ends:
            for how many seconds, less those that are ordinary. Where an attempt failed, or the caller is cancelled,
            they are counted from when the transfer last came further.

    Raises:
        Exception: what the last attempt raised, once none has come further for ``patience_seconds``; at once what no
            other attempt can mend (files that are not there, a pod that is gone, a limit, no shell).
    """
    progress = Progress(on_outage)
    try:
        return await _again_and_again(attempt, progress, patience_seconds=patience_seconds, what=what)
    except asyncio.CancelledError:
        progress.cut()
        raise
    finally:
        progress.end()


async def _again_and_again[T](
    attempt: Callable[[Progress], Awaitable[T]], progress: Progress, *, patience_seconds: float, what: str
) -> T:
    while True:
        progress.begin()
        try:
            return await attempt(progress)
        except (ExecError, TransferError) as error:
            if isinstance(error, LocalFileError | ShellMissingError):
                raise
            progress.cut()
            pause = min(_FIRST_PAUSE_SECONDS * 2**progress.pauses, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)  # noqa: S311 - no secret
            progress.pauses += 1
            if progress.idle_seconds + pause > patience_seconds:
                raise
            logger.info("%s is begun anew: %s", what, error, extra={"action": "transfer_again"})
            await asyncio.sleep(pause)


@asynccontextmanager
async def within(seconds: float | None, what: str) -> AsyncIterator[asyncio.Timeout]:
    """Bounds one wait for the pod; ``None``: it may last.

    Raises:
        TransferError: it took longer.
    """
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield timeout
    except TimeoutError as error:
        raise TransferError(f"{what}: nothing came of it for {seconds:.0f} s.") from error


class Watchdog:
    """Ends a wait in which nothing has moved for too long."""

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        self._timeout = timeout
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._next = self._clock()

    def moved(self) -> None:
        """Something moved: the time begins anew."""
        now = self._clock()
        if now >= self._next:  # not for every piece
            self._timeout.reschedule(now + self._seconds)
            self._next = now + self._seconds / 10


@asynccontextmanager
async def while_moving(seconds: float, what: str) -> AsyncIterator[Watchdog]:
    """Bounds the time in which nothing moves.

    Raises:
        TransferError: nothing did.
    """
    async with within(seconds, what) as timeout:
        yield Watchdog(timeout, seconds)
