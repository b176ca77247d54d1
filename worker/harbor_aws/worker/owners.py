"""Which makers of pods are alive, told from whether their signs of life change. Pure.

Times are the observer's own, of one monotonic clock: no two machines' clocks are ever compared. Only what was seen
without a break counts, and only while the observer's own sign of life comes through. So after a time in which nothing
could be seen, and in one in which nobody can renew anything, nobody is dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from harbor_aws.infra.presence import Presence


@dataclass(frozen=True, slots=True)
class _Sighting:
    presence: Presence | None
    since: float
    """When the observer first had it as it is."""

    def is_same(self, presence: Presence | None) -> bool:
        if self.presence is None or presence is None:
            return self.presence is presence
        return (self.presence.uid, self.presence.version) == (presence.uid, presence.version)


class Owners:
    """What one observer has seen of all owners.

    Args:
        observer: whose own sign of life must be seen to change.
        longest_gap_seconds: between two looks; after a longer one what was seen before counts for nothing. Likewise
            for how long the observer's own sign may not change.
        absence_seconds: how long the sign of life of an owner may be missing altogether.
    """

    def __init__(self, *, observer: str, longest_gap_seconds: float, absence_seconds: float) -> None:
        self._observer = observer
        self._longest_gap_seconds = longest_gap_seconds
        self._absence_seconds = absence_seconds
        self._sightings: dict[str, _Sighting] = {}
        self._asked_at = 0.0
        self._answered_at: float | None = None

    def see(
        self, presences: Collection[Presence], *, owners: Collection[str], asked_at: float, answered_at: float
    ) -> None:
        """Take in what one look has found.

        Args:
            presences: all signs of life that there are.
            owners: the owners of pods, with or without one.
            asked_at: before the question for ``presences`` was sent.
            answered_at: after it was answered.
        """
        if self._answered_at is None or asked_at - self._answered_at > self._longest_gap_seconds:
            self._sightings.clear()
        found: dict[str, Presence | None] = {
            self._observer: None,
            **dict.fromkeys(owners),
            **{each.worker: each for each in presences},
        }
        self._sightings = {
            owner: known
            if (known := self._sightings.get(owner)) is not None and known.is_same(presence)
            else _Sighting(presence, answered_at)
            for owner, presence in found.items()
        }
        self._asked_at, self._answered_at = asked_at, answered_at

    def silent_seconds(self, owner: str) -> float:
        """For how long nothing has changed, counted to the last look's question; at most that long is certain."""
        sighting = self._sightings.get(owner)
        return max(0.0, self._asked_at - sighting.since) if sighting else 0.0

    def is_dead(self, owner: str) -> bool:
        sighting = self._sightings.get(owner)
        if sighting is None or self.silent_seconds(self._observer) > self._longest_gap_seconds:
            return False
        allowed = self._absence_seconds if sighting.presence is None else sighting.presence.duration_seconds
        return self.silent_seconds(owner) > allowed

    def alive(self) -> list[str]:
        """Who has a sign of life, and is not dead."""
        return sorted(
            owner
            for owner, sighting in self._sightings.items()
            if sighting.presence is not None and not self.is_dead(owner)
        )

    def dead_presences(self) -> list[Presence]:
        return [
            sighting.presence
            for owner, sighting in self._sightings.items()
            if sighting.presence is not None and self.is_dead(owner)
        ]
