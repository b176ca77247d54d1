"""A run, played trial by trial.

Trials go through everything in their order, so each one's way is known once those before it have gone theirs: no clock
has to be turned. 50,000 trials take one to two seconds.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from harbor_aws.infra.capacity.builds import built_after
from harbor_aws.infra.capacity.passage import Passage
from harbor_aws.infra.capacity.run import Run
from harbor_aws.infra.capacity.watch import Watch
from harbor_aws.infra.capacity.workers import workers_from
from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harbor_aws.infra.capacity.demand import TrialDemand
    from harbor_aws.infra.capacity.limits import Limits

LEAST_BILLED_SECONDS = 60.0
"""Of any pod. https://aws.amazon.com/fargate/pricing/ (read on 2026-11-23)"""


class NeverRunsError(UsageError):
    """Within these limits a trial could never run."""


def simulate(
    demand: Sequence[TrialDemand], limits: Limits, *, build_seconds: Sequence[float] = (), seed: int = 0
) -> Run:
    """How a run goes.

    Args:
        demand: the trials, in the order in which they are enqueued.
        limits: what bounds them.
        build_seconds: how long each image takes that is to be built before.
        seed: of the chance in how long a node takes to start.

    Raises:
        NeverRunsError: the limits leave too little for one of the trials; the message says of what.
    """
    workers = workers_from(limits, trials=len(demand))
    passage = Passage(limits, workers_from=workers, trials=len(demand), seed=seed)
    if lack := passage.lacks(demand):
        raise NeverRunsError(f"This can never run: {lack}.")
    passed = [passage.take(each) for each in demand]
    built = built_after(build_seconds, at_once=limits.builds_at_once)
    wall = max((each.settled for each in passed), default=0.0)
    watch = Watch(passage, demand, passed, last_worker_from=max(workers, default=0.0))
    timeline, waits = watch.seen(wall_seconds=wall, built_after=built)
    return Run(
        trials=len(demand),
        wall_clock_seconds=built + wall,
        waits=waits,
        peak_pods=int(_peak((each.started, each.ended, 1) for each in passed)),
        peak_vcpus=_peak((one.started, one.ended, of.cpu_millis) for one, of in zip(passed, demand, strict=True))
        / 1000,
        billed_pod_seconds=sum(max(LEAST_BILLED_SECONDS, each.ended - each.node) for each in passed),
        worker_seconds=sum(wall - at for at in workers),
        longest_pending_seconds=max((each.started - each.made for each in passed), default=0.0),
        timeline=timeline,
    )


def _peak(stays: Iterable[tuple[float, float, float]]) -> float:
    """The most there is at once, of what is there from one time until another."""
    changes = [change for since, until, amount in stays for change in ((since, amount), (until, -amount))]
    return max(accumulate(amount for _, amount in sorted(changes)), default=0.0)
