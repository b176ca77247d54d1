"""How many replicas each ReplicaSet of a Deployment should have next. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """What one ReplicaSet is asked for, and what it has."""

    desired: int
    current: int
    """Pods that exist."""
    ready: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """By how much a Deployment may go above and below its number of replicas."""

    surge: int
    unavailable: int


def bounds(strategy: dict[str, Any], replicas: int) -> Bounds:
    """A Deployment's bounds as numbers; with ``Recreate`` every pod may be missing."""
    if strategy["type"] == "Recreate":
        return Bounds(0, replicas)
    rolling = strategy["rollingUpdate"]
    surge = _count(rolling["maxSurge"], replicas, up=True)
    unavailable = _count(rolling["maxUnavailable"], replicas, up=False)
    return Bounds(surge, 1 if surge == unavailable == 0 else unavailable)


def next_replicas(
    replicas: int, strategy: dict[str, Any], new: ReplicaCount, old: Sequence[ReplicaCount]
) -> tuple[int, list[int]]:
    """Replicas to ask of the new ReplicaSet, and of each old one (oldest first)."""
    if strategy["type"] == "Recreate":
        waiting = any(one.current for one in old)
        return (min(new.desired, replicas) if waiting else replicas), [0] * len(old)
    limit = bounds(strategy, replicas)
    room = replicas + limit.surge - sum(one.desired for one in old)
    wanted = max(min(replicas, room), min(new.desired, replicas))
    spare = sum(one.ready for one in old) + new.ready - (replicas - limit.unavailable)
    kept = []
    for one in old:
        broken = max(0, one.desired - one.ready)
        taken = min(one.desired, broken + max(0, min(spare, one.ready)))
        spare -= taken - broken
        kept.append(one.desired - taken)
    return wanted, kept


def _count(value: int | str, replicas: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(value.rstrip("%")) * replicas / 100
    return math.ceil(exact) if up else math.floor(exact)
