"""Who waited for what, and whose fault that was. Pure.

A trial that waits for a slot may wait for it only because those who have one wait for vCPUs. So at every moment all who
wait before a gate are counted to the last gate that anybody waits at: to widen those before it would help nobody. Where
that gate is held by pods whose images are held up, that part of it is the registry's. Why there are no more slots is
looked at elsewhere (:mod:`harbor_aws.infra.capacity.watch`).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harbor_aws.infra.capacity.limit import Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

HELD = frozenset({Limit.SLOTS, Limit.IN_FLIGHT, Limit.STACK_VCPUS, Limit.ACCOUNT_VCPUS, Limit.NODES, Limit.ADDRESSES})
"""Gates that open when a trial before ends."""

PULLS = (Limit.ECR, Limit.DOCKER_HUB, Limit.NAT)
"""What holds up pods that have a place already."""

GATES = tuple(limit for limit in Limit if limit not in PULLS)


@dataclass(slots=True)
class _Queue:
    """From when until when trials waited at one place."""

    since: list[float] = field(default_factory=list)
    until: list[float] = field(default_factory=list)

    def at(self, seconds: float) -> int:
        """How many waited at this time."""
        return bisect_right(self.since, seconds) - bisect_right(self.until, seconds)


class Waiting:
    """Each wait, by the limit that was waited for."""

    def __init__(self) -> None:
        self._queues: dict[Limit, _Queue] = {}

    def add(self, limit: Limit, since: float, until: float) -> None:
        """A trial waited; nothing is noted of one that did not."""
        if until > since:
            queue = self._queues.setdefault(limit, _Queue())
            queue.since.append(since)
            queue.until.append(until)

    def sort(self) -> None:
        """To be called once all is noted, before :meth:`blamed`."""
        for queue in self._queues.values():
            queue.since.sort()
            queue.until.sort()

    def blamed(self, seconds: float, *, pods: int) -> Mapping[Limit, float]:
        """How many trials waited at this time, by what held them up.

        Args:
            pods: how many had a place then.
        """
        waiting = {limit: queue.at(seconds) for limit, queue in self._queues.items()}
        pulls = {limit: float(waiting[limit]) for limit in PULLS if waiting.get(limit)}
        at_gates = sum(count for limit, count in waiting.items() if limit not in PULLS)
        last = next((limit for limit in reversed(GATES) if waiting.get(limit)), None)
        if last is None:
            return pulls
        held_up = min(1.0, sum(pulls.values()) / pods) if pods and last in HELD else 0.0
        shares = {limit: count + at_gates * held_up * count / sum(pulls.values()) for limit, count in pulls.items()}
        return {**shares, last: at_gates * (1 - held_up)}
