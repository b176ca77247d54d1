"""How trials pass all that bounds them, one after the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from harbor_aws.infra.capacity.gates import Rate, Slots
from harbor_aws.infra.capacity.limit import Limit
from harbor_aws.infra.capacity.registry import Registry
from harbor_aws.infra.capacity.room import Room
from harbor_aws.infra.capacity.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.infra.capacity.demand import TrialDemand
    from harbor_aws.infra.capacity.limits import Limits


@dataclass(frozen=True, slots=True)
class Passed:
    """When a trial came how far, in seconds since it was enqueued."""

    made: float
    """Its pod was made."""
    started: float
    """There was room for the pod, and its node began to start."""
    node: float
    """The node was there; the image begins to be pulled, and billed."""
    running: float
    """Commands can be run."""
    ended: float
    """The pod was deleted."""
    settled: float
    """The result was committed, and the slot is free."""


class Passage:
    """All that bounds trials, as far as those before have taken it.

    Attributes:
        waiting: who waited for what, and when.
        room: where pods are.
        slots: how many slots all workers have.
    """

    def __init__(self, limits: Limits, *, workers_from: Sequence[float], trials: int, seed: int) -> None:
        self.waiting = Waiting()
        self._limits = limits
        self._random = Random(seed)  # noqa: S311 - no secret
        self.slots = len(workers_from) * limits.slots_per_worker
        self._slot_limit = Limit.SLOTS if self.slots <= limits.messages_in_flight else Limit.IN_FLIGHT
        usable = int(min(limits.messages_in_flight, trials))
        appear_at = (at for at in workers_from for _ in range(limits.slots_per_worker))
        self._slots = Slots(islice(appear_at, usable))
        self._rates = {
            Limit.S3: Rate(limits.s3_writes_per_second / limits.s3_writes_per_trial),
            Limit.LAUNCH_RATE: Rate(limits.launches_per_second, burst=limits.launch_burst),
            Limit.API: Rate(limits.api_seats / limits.api_seconds_per_request / limits.api_requests_per_trial),
        }
        self.room = Room(limits, workers=len(workers_from))
        self._registry = Registry(limits)

    def lacks(self, demand: Sequence[TrialDemand]) -> str | None:
        """What one of these trials can never have, if there is such a thing."""
        return self.room.lacks(demand) or (None if self._slots or not demand else "there is no worker for them")

    def take(self, demand: TrialDemand) -> Passed:
        """The next trial's way; those before it have gone theirs."""
        made = self._made()
        started, short_of = self.room.entered(made, demand)
        self.waiting.add(short_of, made, started)
        passed = self._run(demand, made=made, started=started)
        self.room.left(passed.ended, demand)
        self._slots.give_back(passed.settled)
        return passed

    def _made(self) -> float:
        at = self._slots.taken()
        self.waiting.add(self._slot_limit, 0.0, at)
        for limit, rate in self._rates.items():
            before, at = at, rate.passed(at)
            self.waiting.add(limit, before, at)
        return at

    def _run(self, demand: TrialDemand, *, made: float, started: float) -> Passed:
        """The registry is asked in the order of starts: which node is there first is chance."""
        starting = self._random.uniform(self._limits.node_seconds_least, self._limits.node_seconds_most)
        there, delays = self._registry.pulled(started, demand.image_mib)
        for limit, since, until in delays:
            self.waiting.add(limit, since + starting, until + starting)
        ended = there + starting + demand.seconds
        return Passed(
            made=made,
            started=started,
            node=started + starting,
            running=there + starting,
            ended=ended,
            settled=ended + self._limits.slot_overhead_seconds,
        )
