"""What a trial has to pass on its way to a pod. Pure; times are seconds since the run began.

All are passed in one order, that of the trials, and by nobody before who is ahead. That is how a queue works, and it
makes the model monotone: more of anything lets each trial pass no later.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Rate:
    """So many a second, and so many at once after a pause.

    Args:
        per_second: how many; ``math.inf`` for as many as anybody likes.
        burst: at least one.
    """

    def __init__(self, per_second: float, *, burst: float = 1.0) -> None:
        self._interval = 0.0 if per_second == inf else 1.0 / per_second
        self._ahead = (max(1.0, burst) - 1) * self._interval
        self._due = 0.0

    def passed(self, at: float) -> float:
        """When who comes at this time is let through."""
        let = max(at, self._due - self._ahead)
        self._due = max(self._due, let) + self._interval
        return let


class Window:
    """So many in any stretch of time of this length."""

    def __init__(self, size: float, *, seconds: float) -> None:
        self._seconds = seconds
        self._last: deque[float] | None = None if size == inf else deque([-inf] * int(size), maxlen=int(size))

    def passed(self, at: float) -> float:
        """When who comes at this time is let through."""
        if self._last is None:
            return at
        let = max(at, self._last[0] + self._seconds)
        self._last.append(let)
        return let


class Link:
    """A link that all share: so much a second together."""

    def __init__(self, per_second: float) -> None:
        self._seconds_each = 0.0 if per_second == inf else 1.0 / per_second
        self._free_at = 0.0

    def carried(self, at: float, amount: float) -> float:
        """When what is sent at this time has gone through."""
        self._free_at = max(self._free_at, at) + amount * self._seconds_each
        return self._free_at


class Pool:
    """So much at once; what is taken is given back later."""

    def __init__(self, size: float) -> None:
        self.size = size
        self._free = size
        self._given_back: list[tuple[float, float]] = []

    def passed(self, at: float, amount: float) -> float:
        """Take it, as soon as there is so much. What was taken must have been given back, at whatever time.

        ``at`` must not go back from one call to the next.
        """
        while self._given_back and (self._given_back[0][0] <= at or self._free < amount):
            back_at, back = heappop(self._given_back)
            at = max(at, back_at)
            self._free += back
        self._free -= amount
        return at

    def give_back(self, at: float, amount: float) -> None:
        heappush(self._given_back, (at, amount))


class Slots:
    """Places that appear at given times and are taken one at a time."""

    def __init__(self, appear_at: Iterable[float]) -> None:
        self._free_at = list(appear_at)
        heapify(self._free_at)

    def __bool__(self) -> bool:
        return bool(self._free_at)

    def taken(self) -> float:
        """When there is one for who waits from the beginning; it is gone until :meth:`give_back`."""
        return heappop(self._free_at)

    def give_back(self, at: float) -> None:
        heappush(self._free_at, at)
