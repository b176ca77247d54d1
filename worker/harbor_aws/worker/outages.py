"""Stretches of time in which a pod could not be seen, or the worker stood still; what overlaps counts once. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ORDINARY_SECONDS = 5.0
"""How much of each wait for a word from a pod is no outage: only what is beyond it counts.

A command is heard of after 15 ms, and after 0.6 s where a hundred are started at once and share two processors with the
server and the pods (docs/benchmarks.md). How long it takes on EKS has not been measured; a cluster that always takes a
second or two is slow and not away, and would void every honest time-out of an agent that runs hundreds of commands. An
API server that is replaced is away for longer.
"""

APART_SECONDS = 0.5
"""Stretches nearer to each other than this are made one, so an attempt has at most two of them for each second. Between
such two somebody waited as well: in the ordinary part of the later one."""


class Outages:
    """Those of one attempt, in seconds of the monotonic clock. They may be added in any order."""

    def __init__(self) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []

    def add(self, began: float, ended: float) -> None:
        first = bisect_left(self._ends, began - APART_SECONDS)
        last = bisect_right(self._begins, ended + APART_SECONDS)
        if first < last:
            began, ended = min(began, self._begins[first]), max(ended, self._ends[last - 1])
        self._begins[first:last] = [began]
        self._ends[first:last] = [ended]

    def add_all(self, stretches: Iterable[tuple[float, float]]) -> None:
        for began, ended in stretches:
            self.add(began, ended)

    def seconds_within(self, began: float, ended: float) -> float:
        """How much of a stretch of time they took."""
        stretches = zip(self._begins, self._ends, strict=True)
        return sum(max(0.0, min(end, ended) - max(begin, began)) for begin, end in stretches)


class Silence:
    """Of a pod of which a word is waited for.

    Args:
        on_outage: called when the pod is heard of, or is waited for no longer, with by how many seconds the wait that
            ends was longer than :data:`ORDINARY_SECONDS`, if it was.
        clock: monotonic, in seconds.
    """

    def __init__(self, on_outage: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._on_outage = on_outage
        self._clock = clock
        self._since: float | None = None

    def begin(self, *, since: float | None = None) -> None:
        """A word is waited for, now or since a moment of the clock. One that is waited for already stays so."""
        moment = self._clock() if since is None else since
        self._since = moment if self._since is None else min(self._since, moment)

    def end(self) -> None:
        """The pod was heard of, or is waited for no longer."""
        since, self._since = self._since, None
        if since is not None and (seconds := self._clock() - since - ORDINARY_SECONDS) > 0:
            self._on_outage(seconds)
