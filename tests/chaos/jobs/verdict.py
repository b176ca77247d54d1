"""Whether the promise was kept: every trial in exactly one ending, nothing wrong, nothing left. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.jobs.events import FROZEN, Event, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

Trial = tuple[str, str]
"""Job and name."""

KILLED = "-9"
TOLD = frozenset({"0", "1", "-15"})
"""How a worker that was told to end may end: with all settled; having given up on trials that could not clean up, the
cluster being away; or before it had begun."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What becomes of a trial when nothing is broken."""

    reward: float | None = None
    cause: str | None = None
    """Of its dead letter, if that is where it belongs."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What there is when all is over."""

    rewards: Mapping[Trial, float | None]
    """Of every committed result."""
    letters: Sequence[tuple[Trial, str]]
    """Every dead letter with its cause. SQS may have one twice, which replaying makes one of."""
    left: Sequence[str]
    """Pods, signs of life and files that nobody needs any more, and messages."""


@dataclass(slots=True)
class Verdict:
    """Each list has a sentence a finding, and is empty if all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.left, *self.wrong]


def judge(expected: Mapping[Trial, Expected], ends: Ends, history: Sequence[Event]) -> Verdict:
    """Look for everything that must not be."""
    dead = {trial for trial, _ in ends.letters}
    verdict = Verdict(left=list(ends.left))
    for trial in expected:
        if trial not in ends.rewards and trial not in dead:
            verdict.lost.append(f"{_name(trial)} has neither a result nor a dead letter")
        elif trial in ends.rewards and trial in dead:
            verdict.doubled.append(f"{_name(trial)} has a result and a dead letter")
    verdict.lost += _acknowledged_without_ending(history)
    verdict.doubled += _committed_again(history)
    verdict.doubled += _dead_and_committed(history)
    verdict.doubled += _taken_from_the_living(history)
    verdict.wrong += _unexpected(expected, ends)
    verdict.wrong += _ended_by_themselves(history)
    return verdict


def _unexpected(expected: Mapping[Trial, Expected], ends: Ends) -> Iterator[str]:
    causes = dict(ends.letters)
    for trial, should in expected.items():
        if trial in ends.rewards and ends.rewards[trial] != should.reward:
            yield f"{_name(trial)} has the reward {ends.rewards[trial]}, not {should.reward}"
        if trial in causes and causes[trial] != should.cause:
            yield f"{_name(trial)} is a dead letter ({causes[trial]}), which it should not be ({should.cause})"
    for trial in {*ends.rewards, *causes} - expected.keys():
        yield f"{_name(trial)} was never asked for"


def _committed_again(history: Iterable[Event]) -> list[str]:
    commits = Counter(event.place for event in history if event.kind is Kind.COMMITTED)
    return [f"{_name(trial)} was committed {count} times" for trial, count in commits.items() if count > 1]


def _dead_and_committed(history: Iterable[Event]) -> Iterator[str]:
    """A result after a dead letter that had not been put back, or a dead letter after a result.

    In the end neither may be seen any more: whoever puts back dead letters drops those of trials that have a result.
    """
    committed: dict[Trial, Event] = {}
    dead: dict[Trial, Event] = {}
    for event in history:
        match event.kind:
            case Kind.COMMITTED:
                committed.setdefault(event.place, event)
                if letter := dead.get(event.place):
                    yield f"{_name(event.place)} was committed at {event.at} s, and dead since {letter.at} s"
            case Kind.DEAD:
                dead.setdefault(event.place, event)
                if result := committed.get(event.place):
                    yield f"{_name(event.place)} was dead at {event.at} s, and committed since {result.at} s"
            case Kind.SENT if (letter := dead.get(event.place)) and event.replay > letter.replay:
                del dead[event.place]


def _acknowledged_without_ending(history: Iterable[Event]) -> Iterator[str]:
    """A message may be deleted once its trial is committed, dead, or further on than the message."""
    committed: set[Trial] = set()
    furthest: dict[Trial, tuple[int, int]] = defaultdict(lambda: (0, 0))
    dead: set[Trial] = set()
    for event in history:
        match event.kind:
            case Kind.COMMITTED | Kind.REFUSED:
                committed.add(event.place)
            case Kind.DEAD:
                dead.add(event.place)
            case Kind.SENT:
                furthest[event.place] = max(furthest[event.place], (event.replay, event.attempt))
            case Kind.ACKNOWLEDGED if event.trial:
                is_further = furthest[event.place] > (event.replay, event.attempt)
                if event.place not in committed | dead and not is_further:
                    yield f"{_name(event.place)}: attempt {event.attempt} was acknowledged without an ending"


def _taken_from_the_living(history: Iterable[Event]) -> Iterator[str]:
    """A message that a worker holds comes to nobody, itself included, unless something was done to it or its requests.

    An old receipt may show a message again that another one has by now, when giving it back was tried twice.
    """
    holders: dict[str, Event] = {}
    unwell: set[str] = set()
    for event in history:
        match event.kind:
            case Kind.RECEIVED if event.note != "echo":
                holder = holders.pop(event.message, None)
                if holder is not None:
                    seconds = event.at - holder.at
                    yield f"{_name(event.place)} was taken from {holder.actor} after {seconds:.0f} s by {event.actor}"
                if event.actor not in unwell:  # else the answer was for one who cannot read it
                    holders[event.message] = event
            case Kind.ACKNOWLEDGED | Kind.SHOWN:
                holders.pop(event.message, None)
            case Kind.FAULT | Kind.ENDED if event.actor:
                holders = {message: held for message, held in holders.items() if held.actor != event.actor}
                if event.kind is Kind.ENDED or event.note.startswith(FROZEN):
                    unwell.add(event.actor)
            case Kind.STARTED | Kind.THAWED:
                unwell.discard(event.actor)


def _ended_by_themselves(history: Collection[Event]) -> Iterator[str]:
    told: set[str] = set()
    for event in history:
        match event.kind:
            case Kind.STARTED:
                told.discard(event.actor)
            case Kind.TOLD:
                told.add(event.actor)
            case Kind.ENDED if event.note != KILLED and not (event.actor in told and event.note in TOLD):
                yield f"the worker {event.actor} ended with {event.note}"


def _name(trial: Trial) -> str:
    return "/".join(trial)
