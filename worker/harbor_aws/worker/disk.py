"""How much of a disk must be free for a trial to begin. Pure."""

from __future__ import annotations

GIB = 2**30

LEAST_FREE_BYTES = 1 * GIB
"""Less than that may not hold a task's bundle, a trial's files and their archive; doctor's bound for a local stack."""

LEAST_FREE_SHARE = 1 / 20
"""Of a small disk so much is enough. A worker on Fargate has 20 GiB, where both bounds are the same."""


def least_free_bytes(total_bytes: int) -> int:
    """What must be free on a disk of that size for a trial to begin."""
    return min(LEAST_FREE_BYTES, int(total_bytes * LEAST_FREE_SHARE))
