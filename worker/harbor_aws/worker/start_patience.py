"""How long a pod that does not run yet is waited for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harbor_aws.worker.image_pull import image_patience_seconds
from harbor_aws.worker.pod_status import DOUBTFUL_REASONS, HOPELESS_REASONS, waiting_reason
from harbor_aws.worker.scheduling import has_node, scheduling_hold_up, shortage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.producer.dead_letters.pod_end import PodEvent

Json = dict[str, Any]


@dataclass(slots=True)
class StartPatience:
    """Times are the caller's, in seconds."""

    began_at: float
    start_seconds: float
    """From the pod's creation until its container runs."""
    image_seconds: float
    """For what makes its container fail, as an image that cannot be pulled does, and may pass."""
    capacity_seconds: float
    """For a refusal for want of room."""
    is_refused: bool = False
    """Whether there was no room for it when it was last looked at."""
    was_refused: bool = False
    """Whether there was none at any time."""
    _doubtful_since: float | None = None
    _refused_since: float | None = None

    @property
    def events_are_due_at(self) -> float:
        """When the pod's events are worth a request: if no condition said by then what keeps it from having a node."""
        return self.began_at + self.capacity_seconds

    def ends_at(self, pod: Json, events: Sequence[PodEvent], *, now: float) -> float:
        """When to give it up if nothing changes."""
        word = getattr(waiting_reason(pod), "word", "")
        if word in HOPELESS_REASONS:
            return now
        scheduling = scheduling_hold_up(pod, events)
        self.is_refused = scheduling is not None and shortage(scheduling) is not None
        self.was_refused |= self.is_refused
        self._refused_since = _since(self._refused_since, now) if self.is_refused else None
        self._doubtful_since = _since(self._doubtful_since, now) if word in DOUBTFUL_REASONS else None
        ends = [self.began_at + self.start_seconds]
        if self._refused_since is not None:
            ends.append(self._refused_since + self.capacity_seconds)
        if self._doubtful_since is not None:
            ends.append(self._doubtful_since + image_patience_seconds(pod, otherwise=self.image_seconds))
        return min(ends)


def is_silent(pod: Json) -> bool:
    """Whether it has no node and its object does not say why."""
    return not has_node(pod) and waiting_reason(pod) is None


def _since(known: float | None, now: float) -> float:
    return now if known is None else known
