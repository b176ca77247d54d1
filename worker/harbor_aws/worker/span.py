"""A stretch of time on both clocks: the wall clock, which somebody may set, and the monotonic one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

STEP_SECONDS = 1.0
"""If the clocks disagree by more about how long something took, the wall clock was set meanwhile: slewing changes
both."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another."""

    began: float
    """On the monotonic clock, in seconds, as ``ended``."""
    ended: float
    began_at: datetime
    """On the wall clock, as ``ended_at``."""
    ended_at: datetime

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def part(self, started_at: datetime, finished_at: datetime) -> tuple[float, float] | None:
        """When a part of it that the wall clock timed was, on the monotonic one; ``None`` if that cannot be told."""
        walled = (self.ended_at - self.began_at).total_seconds()
        if abs(walled - self.seconds) > STEP_SECONDS:
            return None
        began = self.began + (started_at - self.began_at).total_seconds()
        ended = self.began + (finished_at - self.began_at).total_seconds()
        return (began, ended) if self.began - STEP_SECONDS <= began <= ended <= self.ended + STEP_SECONDS else None

    def seconds_of(self, started_at: datetime, finished_at: datetime) -> float:
        """How long a part took by the wall clock, but no longer than all; all, if that is no length of time."""
        walled = (finished_at - started_at).total_seconds()
        return min(walled, self.seconds) if walled > 0 else self.seconds
