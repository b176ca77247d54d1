"""Who lives, as one observer sees it by its own clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from harbor_aws.infra.presence import Presence
from harbor_aws.worker.owners import Owners

GAP_SECONDS = 100.0
ABSENCE_SECONDS = 40.0
DURATION_SECONDS = 320.0


@dataclass
class Observer:
    """Looks at times that the test says, and renews its own sign unless it is told that it cannot."""

    owners: Owners = field(
        default_factory=lambda: Owners(observer="me", longest_gap_seconds=GAP_SECONDS, absence_seconds=ABSENCE_SECONDS)
    )
    looks: int = 0
    can_renew: bool = True

    def look(self, at: float, *others: Presence, owners: set[str] | None = None) -> None:
        self.looks += self.can_renew
        mine = presence("me", str(self.looks))
        self.owners.see([mine, *others], owners=owners or set(), asked_at=at, answered_at=at + 1)

    def watch(self, first: int, last: int, *others: Presence, owners: set[str] | None = None) -> None:
        """Look every 40 s."""
        for at in range(first, last + 1, 40):
            self.look(at, *others, owners=owners)


def presence(worker: str, version: str = "1", *, uid: str = "u", duration: float = DURATION_SECONDS) -> Presence:
    return Presence(worker, uid, worker, version, duration, datetime.now(UTC))


def test_a_sign_that_changes_is_life() -> None:
    """However old it says it is: the owner's clock is not asked."""
    observer = Observer()
    for look in range(20):
        observer.look(40.0 * look, presence("w", str(look)))
    assert not observer.owners.is_dead("w")
    assert observer.owners.alive() == ["me", "w"]


def test_a_sign_that_does_not_change_for_as_long_as_it_says_is_death() -> None:
    """Not before: its own duration counts, from when this observer saw it first."""
    observer = Observer()
    observer.watch(0, 320, presence("w"), presence("slow", duration=1000))
    assert not observer.owners.is_dead("w")
    observer.look(360, presence("w"), presence("slow", duration=1000))
    assert observer.owners.is_dead("w")
    assert [dead.worker for dead in observer.owners.dead_presences()] == ["w"]
    assert not observer.owners.is_dead("slow")
    assert observer.owners.silent_seconds("w") == 359


def test_the_dead_may_return() -> None:
    """A process that was frozen for very long lives again with its next renewal, or with a new sign of its name."""
    observer = Observer()
    observer.watch(0, 400, presence("w"), presence("v"))
    assert observer.owners.is_dead("w")
    assert observer.owners.is_dead("v")
    observer.look(440, presence("w", "2"), presence("v", uid="another"))
    assert not observer.owners.is_dead("w")
    assert not observer.owners.is_dead("v")


def test_an_owner_without_any_sign_is_dead_soon() -> None:
    """A pod whose owner is not in the list at all waits for nobody, but is not condemned at first sight either."""
    observer = Observer()
    observer.look(0, owners={"w"})
    assert not observer.owners.is_dead("w")
    observer.watch(40, 80, owners={"w"})
    assert observer.owners.is_dead("w")
    assert observer.owners.dead_presences() == []


def test_what_was_not_watched_does_not_count() -> None:
    """After an outage of the cluster, or a freeze of the observer, everybody has their full time again."""
    observer = Observer()
    observer.watch(0, 280, presence("w"))
    observer.look(1000, presence("w"))
    assert not observer.owners.is_dead("w")
    assert observer.owners.silent_seconds("w") == 0


def test_who_cannot_renew_its_own_sign_judges_nobody() -> None:
    """A cluster that answers reads and refuses writes lets everybody look dead."""
    observer = Observer(can_renew=False)
    observer.watch(0, 2000, presence("w"))
    assert not observer.owners.is_dead("w")
    observer.can_renew = True
    observer.look(2040, presence("w"))
    assert observer.owners.is_dead("w")


def test_who_was_never_seen_is_not_dead() -> None:
    """Nothing is known of it."""
    assert not Observer().owners.is_dead("w")
