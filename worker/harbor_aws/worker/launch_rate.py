"""How fast this process launches pods: its share of what the account may launch.

Fargate launches so many pods a second for a whole account and region; what is asked for beyond that waits there, and
nobody sees why. So makers of pods keep below it together: each takes the account's rate divided by how many makers
there are, which the reaper counts anyway. Between two of its looks the count may be old; Fargate then makes pods wait.
Where there is no room for pods at all, each maker slows down further by itself; see
:mod:`harbor_aws.worker.launch_pause`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import CapacityError
from harbor_aws.worker.launch_pause import LaunchPause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

logger = logging.getLogger(__name__)

TURN_PATIENCE_SECONDS = 1800.0
"""How long a trial may wait for its turn: then the queue holds it, and another worker may have one sooner."""

_SHORTEST_PAUSE_SECONDS = 0.001
"""For a timer that fires a rounding error too early."""


class TokenBucket:
    """So many at once, and so many a second, divided among sharers. Pure: times are the caller's, in seconds.

    It begins with one token, whatever its size: that others begin at the same time is not known yet.
    """

    def __init__(self, *, per_second: float, burst: float, now: float) -> None:
        self._whole_per_second = per_second
        self._whole_burst = burst
        self._sharers = 1
        self._tokens = 1.0
        self._at = now

    def share_among(self, sharers: int, *, now: float) -> None:
        """Have an equal share from now on."""
        self._refill(now)
        self._sharers = max(1, sharers)
        self._tokens = min(self._tokens, self._size)

    def take(self, *, now: float) -> bool:
        """Take one, if there is one."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self, *, now: float) -> None:
        """Put back one that was taken and not used."""
        self._refill(now)
        self._tokens = min(self._size, self._tokens + 1)

    def seconds_until_next(self, *, now: float) -> float:
        """How long until there is one to take."""
        self._refill(now)
        return max(0.0, 1 - self._tokens) * self._sharers / self._whole_per_second

    @property
    def _size(self) -> float:
        return max(1.0, self._whole_burst / self._sharers)

    def _refill(self, now: float) -> None:
        gained = (now - self._at) * self._whole_per_second / self._sharers
        self._tokens = min(self._size, self._tokens + max(0.0, gained))
        self._at = max(self._at, now)


@dataclass(slots=True)
class Turn:
    """The right to launch one pod."""

    is_spent: bool = False


class Launches:
    """The turns of a process's pods, in the order in which they were asked for. Belongs to one event loop.

    Args:
        per_second: of the whole account; 0 for as many as anybody likes.
        burst: how many of the whole account may come at once.
    """

    def __init__(self, *, per_second: float = 0, burst: float = 1) -> None:
        self._per_second = per_second
        self._burst = burst
        self._bucket: TokenBucket | None = None
        self._pause = LaunchPause()
        self._pressing: deque[asyncio.Future[None]] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def share_among(self, makers: int) -> None:
        """Keep to an equal share of this many makers of pods, this process among them."""
        bucket = self._open()
        if bucket:
            bucket.share_among(makers, now=_now())
            self._serve()

    def refused(self) -> None:
        """There is no room for a pod at the moment."""
        if self._pause.refused(now=_now()):
            self._say_pause()

    def given_up(self, *, launched_at: float) -> None:
        """A pod that was launched at this time of the loop was given up for want of room."""
        if self._pause.given_up(launched_at=launched_at, now=_now()):
            self._say_pause()

    def admitted(self, *, since: float) -> None:
        """There was room for a pod, at some moment since this time of the loop."""
        if self._pause.seconds:
            self._pause.admitted(since=since)
            self._serve()

    def _say_pause(self) -> None:
        logger.warning(
            "Pods find no room: one in %.0f s is launched until they do.",
            self._pause.seconds,
            extra={"action": "pause_launches"},
        )

    @asynccontextmanager
    async def reserved(self) -> AsyncIterator[Turn]:
        """Wait for a turn that is to be spent within the ``async with``; unspent, others have it.

        Raises:
            CapacityError: there was none in :data:`TURN_PATIENCE_SECONDS`.
        """
        try:
            async with asyncio.timeout(TURN_PATIENCE_SECONDS):
                await self._wait(self._waiting)
        except TimeoutError as error:
            raise CapacityError(
                f"For {TURN_PATIENCE_SECONDS:.0f} s there was no turn to launch a pod: others wait for room, too.",
                pod="none",
                reason="NoTurn",
            ) from error
        turn = Turn()
        try:
            yield turn
        finally:
            if not turn.is_spent:
                self._give_back(self._waiting)

    async def spend(self, turn: Turn | None) -> None:
        """Launch with this turn; without one that is unspent, wait for another before all who only reserve.

        Whoever waits here has a trial under way, and Harbor's time-outs running.
        """
        if turn is not None and not turn.is_spent:
            turn.is_spent = True
        else:
            await self._wait(self._pressing)

    def _open(self) -> TokenBucket | None:
        if self._bucket is None and self._per_second:
            self._bucket = TokenBucket(per_second=self._per_second, burst=self._burst, now=_now())
        return self._bucket

    async def _wait(self, line: deque[asyncio.Future[None]]) -> None:
        self._open()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(place)
        self._serve()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # it came at the same moment
                self._give_back(line)
            raise

    def _serve(self) -> None:
        """Let go on whose turn it is, and come back when the next one's is."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while place := self._next():
            seconds = self._seconds_until_next()
            if seconds > 0 or not self._take():
                seconds = max(_SHORTEST_PAUSE_SECONDS, seconds)
                self._timer = asyncio.get_running_loop().call_later(seconds, self._serve)
                return
            place.set_result(None)

    def _seconds_until_next(self) -> float:
        """Who has a trial under way does not wait for room: it has to be found before Harbor's time-outs end."""
        until_rate = self._bucket.seconds_until_next(now=_now()) if self._bucket else 0.0
        return until_rate if self._pressing else max(until_rate, self._pause.seconds_until_next(now=_now()))

    def _take(self) -> bool:
        if self._bucket and not self._bucket.take(now=_now()):
            return False
        if not self._pressing:
            self._pause.launched(now=_now())
        return True

    def _next(self) -> asyncio.Future[None] | None:
        """Who is first in line; those who gave up, or whose turn has come, are in none."""
        for line in (self._pressing, self._waiting):
            while line and line[0].done():
                line.popleft()
            if line:
                return line[0]
        return None

    def _give_back(self, line: deque[asyncio.Future[None]]) -> None:
        if self._bucket:
            self._bucket.give_back(now=_now())
        if line is self._waiting:
            self._pause.not_launched()
        self._serve()


def _now() -> float:
    return asyncio.get_running_loop().time()
