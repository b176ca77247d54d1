"""When a run's workers are there. Pure; times are seconds since the trials were enqueued."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harbor_aws.infra.capacity.limits import Limits


def wanted_workers(limits: Limits, *, trials: int) -> int:
    """How many there are going to be."""
    most = max(limits.workers, limits.min_workers)
    return max(limits.min_workers, min(most, ceil(trials / limits.slots_per_worker)))


def workers_from(limits: Limits, *, trials: int) -> list[float]:
    """When each begins to take trials, the first one first.

    The queue is looked into half a poll after it was filled, on average. Where there is no worker that brings the
    first; a poll later come as many as may be added, and so on by the minute.
    """
    wanted, looked_at = wanted_workers(limits, trials=trials), limits.autoscaler_poll_seconds / 2
    there = [0.0] * limits.min_workers
    if not there and wanted:
        there.append(looked_at + limits.worker_start_seconds)
        looked_at += limits.autoscaler_poll_seconds
    while len(there) < wanted:
        more = int(min(limits.workers_a_minute, wanted - len(there)))
        there += [looked_at + limits.worker_start_seconds] * more
        looked_at += 60.0
    return there
