"""A run looked at from moment to moment, once it is known how each trial goes. Pure."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from harbor_aws.infra.capacity.limit import Limit
from harbor_aws.infra.capacity.run import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harbor_aws.infra.capacity.demand import TrialDemand
    from harbor_aws.infra.capacity.passage import Passage, Passed

MOMENTS = 500
"""How often a run is looked at."""


class Watch:
    """What there is, and who waits for what."""

    def __init__(
        self, passage: Passage, demand: Sequence[TrialDemand], passed: Sequence[Passed], *, last_worker_from: float
    ) -> None:
        self._waiting = passage.waiting
        self._room = passage.room
        self._slots = passage.slots
        self._last_worker_from = last_worker_from
        self._trials = len(passed)
        self._started = _Growing((way.started, of.cpu_millis) for way, of in zip(passed, demand, strict=True))
        self._running = _Growing((way.running, of.cpu_millis) for way, of in zip(passed, demand, strict=True))
        self._ended = _Growing((way.ended, of.cpu_millis) for way, of in zip(passed, demand, strict=True))
        self._waiting.sort()

    def seen(self, *, wall_seconds: float, built_after: float) -> tuple[tuple[Moment, ...], Mapping[Limit, float]]:
        """The moments, and the trial-seconds that each limit held trials up.

        Args:
            wall_seconds: without the builds before.
            built_after: how long these took.
        """
        waits = {Limit.BUILDS: built_after * self._trials} if built_after else {}
        timeline = [Moment(0.0, self._trials, 0, 0, Limit.BUILDS)] if built_after else []
        step = wall_seconds / MOMENTS
        for seconds in ((number + 0.5) * step for number in range(MOMENTS if self._trials else 0)):
            blamed = self._blamed(seconds)
            for limit, count in blamed.items():
                waits[limit] = waits.get(limit, 0.0) + count * step
            timeline.append(self._moment(seconds, blamed, after=built_after))
        return tuple(timeline), waits

    def _moment(self, seconds: float, blamed: Mapping[Limit, float], *, after: float) -> Moment:
        started, running, ended = (each.count(seconds) for each in (self._started, self._running, self._ended))
        return Moment(
            seconds=after + seconds,
            waiting=self._trials - started,
            starting=started - running,
            running=running - ended,
            binding=max(blamed, key=lambda limit: blamed[limit], default=None),
        )

    def _blamed(self, seconds: float) -> dict[Limit, float]:
        pods = self._started.count(seconds) - self._ended.count(seconds)
        blamed = dict(self._waiting.blamed(seconds, pods=pods))
        if Limit.SLOTS in blamed:
            blamed[self._why_no_slot(seconds, pods)] = blamed.pop(Limit.SLOTS)
        return blamed

    def _why_no_slot(self, seconds: float, pods: int) -> Limit:
        """Slots are few because workers still start, or because one more would have no vCPUs for its trials."""
        if seconds < self._last_worker_from:
            return Limit.WORKERS
        cpu_millis = self._started.amount(seconds) - self._ended.amount(seconds)
        millis_each = cpu_millis / max(1, pods)
        return self._room.short_of_for_worker(slots=self._slots, millis_each=millis_each) or Limit.SLOTS


class _Growing:
    """What has come up to a time: how many, and how much."""

    def __init__(self, came: Iterable[tuple[float, float]]) -> None:
        in_order = sorted(came)
        self._times = [at for at, _ in in_order]
        self._sums = [0.0, *accumulate(amount for _, amount in in_order)]

    def count(self, seconds: float) -> int:
        return bisect_right(self._times, seconds)

    def amount(self, seconds: float) -> float:
        return self._sums[self.count(seconds)]
