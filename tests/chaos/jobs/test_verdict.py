"""The judge finds each thing that must not be, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.jobs.events import Event, Kind
from tests.chaos.jobs.verdict import Ends, Expected, judge

TRIAL = ("job", "task__1")
PLACE = {"job": "job", "trial": "task__1"}
EXPECTED = {TRIAL: Expected(reward=1.0)}
WELL = Ends(rewards={TRIAL: 1.0}, letters=[], left=[])


def event(at: float, kind: Kind, actor: str = "w1", **fields: object) -> Event:
    return Event(at=at, kind=kind, actor=actor, **{"message": "m", "attempt": 1, **PLACE, **fields})  # type: ignore[arg-type]


STORY = [
    event(0, Kind.SENT, "producer"),
    event(1, Kind.RECEIVED, receipt="r1"),
    event(5, Kind.COMMITTED),
    event(6, Kind.ACKNOWLEDGED, receipt="r1"),
]


RETRIED = [event(4, Kind.SENT, attempt=2), *STORY[2:]]


def test_nothing_is_found_where_all_is_well() -> None:
    """A trial that was sent, received, committed and acknowledged."""
    assert judge(EXPECTED, WELL, STORY).findings == []


@pytest.mark.parametrize(
    ("ends", "kind", "words"),
    [
        (replace(WELL, rewards={}), "lost", "neither a result nor a dead letter"),
        (replace(WELL, letters=[(TRIAL, "PodGoneError")]), "doubled", "a result and a dead letter"),
        (replace(WELL, rewards={TRIAL: 0.0}), "wrong", "has the reward 0.0, not 1.0"),
        (replace(WELL, rewards={TRIAL: None}), "wrong", "has the reward None"),
        (replace(WELL, rewards={}, letters=[(TRIAL, "PodGoneError")]), "wrong", "is a dead letter (PodGoneError)"),
        (replace(WELL, rewards={TRIAL: 1.0, ("job", "x"): 1.0}), "wrong", "was never asked for"),
        (replace(WELL, left=["pod p"]), "left", "pod p"),
    ],
)
def test_what_is_wrong_in_the_end_is_found(ends: Ends, kind: str, words: str) -> None:
    """Each by the list that it belongs to."""
    assert any(words in finding for finding in getattr(judge(EXPECTED, ends, STORY), kind))


def test_a_trial_that_must_die_is_well_only_as_its_dead_letter() -> None:
    """With the cause that was foreseen, and with no other."""
    expected = {TRIAL: Expected(cause="WorkerDied")}
    history = [STORY[0]]
    assert judge(expected, Ends({}, [(TRIAL, "WorkerDied")], []), history).findings == []
    assert judge(expected, Ends({}, [(TRIAL, "Other")], []), history).wrong


@pytest.mark.parametrize(
    ("history", "kind", "words"),
    [
        ([*STORY[:2], STORY[3]], "lost", "acknowledged without an ending"),
        ([*STORY, event(7, Kind.COMMITTED, "w2")], "doubled", "committed 2 times"),
        ([*STORY[:2], event(3, Kind.DEAD, "w2"), *STORY[2:]], "doubled", "committed at 5 s, and dead since 3 s"),
        ([*STORY[:2], event(3, Kind.DEAD, "w2"), *RETRIED], "doubled", "committed at 5 s, and dead since 3 s"),
        ([*STORY, event(7, Kind.DEAD, "w2")], "doubled", "dead at 7 s, and committed since 5 s"),
        ([*STORY[:2], event(3, Kind.RECEIVED, "w2", receipt="r2"), *STORY[2:]], "doubled", "was taken from w1"),
        ([*STORY[:2], event(3, Kind.RECEIVED, receipt="r2"), *STORY[2:]], "doubled", "was taken from w1"),
        ([*STORY, event(7, Kind.ENDED, note="0")], "wrong", "ended with 0"),
        ([*STORY, event(7, Kind.TOLD), event(8, Kind.ENDED, note="-6")], "wrong", "ended with -6"),
    ],
)
def test_what_went_wrong_on_the_way_is_found(history: list[Event], kind: str, words: str) -> None:
    """Although all is well in the end."""
    assert any(words in finding for finding in getattr(judge(EXPECTED, WELL, history), kind))


@pytest.mark.parametrize(
    "between",
    [
        event(2, Kind.FAULT, note="worker frozen"),
        event(2, Kind.ENDED, note="-9"),
        event(2, Kind.SHOWN, receipt="r1"),
    ],
)
def test_a_message_may_go_to_another_when_its_holder_cannot_keep_it(between: Event) -> None:
    """A worker that is frozen, dead, or has given it back."""
    again = [event(3, Kind.RECEIVED, "w2", receipt="r2"), event(5, Kind.COMMITTED, "w2")]
    assert judge(EXPECTED, WELL, [*STORY[:2], between, *again]).findings == []


@pytest.mark.parametrize(
    "before", [[event(0, Kind.ENDED, note="-9")], [event(0, Kind.FAULT, note="worker frozen for 25 s")]]
)
def test_what_the_dead_and_the_frozen_are_given_is_nobodys(before: list[Event]) -> None:
    """An answer that comes when its worker cannot read it any more."""
    again = [event(3, Kind.RECEIVED, "w2", receipt="r2"), event(5, Kind.COMMITTED, "w2")]
    assert judge(EXPECTED, WELL, [event(0, Kind.TOLD), *before, *STORY[:2], *again]).findings == []


def test_a_message_may_be_acknowledged_when_the_next_attempt_is_on_its_way() -> None:
    """That is the ending of an attempt which is tried again."""
    history = [*STORY[:2], event(3, Kind.SENT, attempt=2), event(4, Kind.ACKNOWLEDGED, receipt="r1"), STORY[2]]
    assert judge(EXPECTED, WELL, history).findings == []


def test_a_dead_letter_that_is_put_back_may_come_to_a_result() -> None:
    """By a message of a later replay, and not of another attempt."""
    dead, replayed = event(2, Kind.DEAD), event(4, Kind.SENT, "producer", replay=1)
    assert judge(EXPECTED, WELL, [*STORY[:2], dead, replayed, *STORY[2:]]).findings == []


def test_a_second_delivery_is_nobodys_fault() -> None:
    """SQS may give a message to two."""
    history = [*STORY[:2], event(2, Kind.RECEIVED, "w2", receipt="e1", note="echo"), *STORY[2:]]
    assert judge(EXPECTED, WELL, history).findings == []
