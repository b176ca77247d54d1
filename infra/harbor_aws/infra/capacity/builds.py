"""How long a job's images are built before its trials are enqueued. Pure."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def built_after(build_seconds: Sequence[float], *, at_once: float) -> float:
    """When the last of these builds ends, so many at a time in their order."""
    free_at = [0.0] * int(min(at_once, len(build_seconds)))
    heapify(free_at)
    for seconds in build_seconds:
        heappush(free_at, heappop(free_at) + seconds)
    return max(free_at, default=0.0)
