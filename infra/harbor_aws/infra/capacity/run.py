"""What comes out of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.capacity.limit import Limit

NOTICEABLE = 0.05
"""Share of the wall clock that a trial must wait on average before something is said to bind."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is at one time."""

    seconds: float
    """Since the run began."""
    waiting: int
    """Trials without a pod."""
    starting: int
    """Pods whose node starts or whose image is pulled."""
    running: int
    """Pods in which commands run."""
    binding: Limit | None
    """What holds up those who wait."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of all trials."""

    trials: int

    wall_clock_seconds: float
    """From ``enqueue`` until the last result is committed."""

    waits: Mapping[Limit, float]
    """Trial-seconds that each limit held trials up; one that held up none is not in it."""

    peak_pods: int
    """Pods of trials at once."""

    peak_vcpus: float
    """Their vCPUs."""

    billed_pod_seconds: float
    """Of all pods: from the first byte of the image until the pod is deleted."""

    worker_seconds: float
    """Of all workers, from the start of each until the end of the run."""

    longest_pending_seconds: float
    """The longest that a pod was there without vCPUs, a node or an address for it."""

    timeline: tuple[Moment, ...]

    @property
    def binding(self) -> Limit | None:
        """What held up trials the longest; ``None`` if on average they hardly waited for anything."""
        if not self.waits or self.trials * self.wall_clock_seconds * NOTICEABLE > sum(self.waits.values()):
            return None
        return max(self.waits, key=lambda limit: self.waits[limit])

    def share(self, limit: Limit) -> float:
        """The part of all waiting that is this limit's, from 0 to 1."""
        total = sum(self.waits.values())
        return self.waits.get(limit, 0.0) / total if total else 0.0
