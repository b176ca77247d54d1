"""How long outages took, each moment counted once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_aws.worker.outages import APART_SECONDS, ORDINARY_SECONDS, Outages, Silence

Stretch = tuple[float, float]


def outages(*stretches: Stretch) -> Outages:
    known = Outages()
    known.add_all(stretches)
    return known


@pytest.mark.parametrize(
    ("stretches", "seconds"),
    [
        ([], 0.0),
        ([(0.0, 40.0), (100.0, 140.0), (200.0, 240.0)], 120.0),
        ([(0.0, 40.0), (1.0, 40.0), (2.0, 40.0)], 40.0),
        ([(10.0, 20.0), (30.0, 40.0), (15.0, 35.0)], 30.0),
        ([(30.0, 40.0), (10.0, 20.0)], 20.0),
        ([(10.0, 20.0), (12.0, 13.0)], 10.0),
    ],
)
def test_what_overlaps_counts_once(stretches: list[Stretch], seconds: float) -> None:
    """Of commands, transfers and stalls at the same time, in whatever order they are told; others add up."""
    assert outages(*stretches).seconds_within(0.0, 1000.0) == seconds


def test_only_what_is_within_counts() -> None:
    """Each stretch is cut at the ends of the time that is asked about."""
    known = outages((0.0, 10.0), (20.0, 30.0), (40.0, 50.0))
    assert known.seconds_within(5.0, 45.0) == 20.0
    assert known.seconds_within(11.0, 19.0) == 0.0


MOMENTS = st.integers(0, 200)


@given(st.lists(st.tuples(MOMENTS, MOMENTS).map(sorted)), MOMENTS, MOMENTS)
def test_as_if_each_second_were_counted(stretches: list[list[int]], began: int, ended: int) -> None:
    """Whole seconds are further apart than what is joined, so a set of them says the same."""
    counted = {second for first, last in stretches for second in range(first, last)}
    seconds = sum(second in counted for second in range(began, ended))
    assert outages(*((float(first), float(last)) for first, last in stretches)).seconds_within(began, ended) == seconds


def test_they_take_bounded_memory() -> None:
    """Of any number in a minute, at most two for each second are kept."""
    known = Outages()
    for number in range(10_000):
        began = number * 37 % 60_000 / 1000
        known.add(began, began + 0.0001)
    assert len(known._begins) == len(known._ends) <= 60 / APART_SECONDS + 1


class Clock:
    """Goes on as it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("late_seconds", "lost_seconds"), [(4.9, 0.0), (5.9, 270.0), (40.0, 300 * 35.0)])
def test_short_silences_add_up_only_if_they_are_not_ordinary(late_seconds: float, lost_seconds: float) -> None:
    """An agent's 300 commands, one after the other: a slow server takes nothing of its time, one that is ill does."""
    clock, known = Clock(), Outages()
    silence = Silence(lambda seconds: known.add(clock.now - seconds, clock.now), clock)
    for _ in range(300):
        silence.begin()
        clock.now += late_seconds
        silence.end()
        clock.now += 0.1
    assert known.seconds_within(0.0, clock.now) == pytest.approx(lost_seconds)


def test_a_silence_counts_from_its_first_moment() -> None:
    """Another attempt within it does not make it shorter, one that knows an earlier moment longer; its end is one."""
    told: list[float] = []
    clock = Clock()
    silence = Silence(told.append, clock)
    clock.now = 10.0
    silence.begin()
    clock.now = 15.0
    silence.begin()
    silence.begin(since=5.0)
    silence.begin(since=12.0)
    clock.now = 20.0
    silence.end()
    silence.end()
    assert told == [15.0 - ORDINARY_SECONDS]
