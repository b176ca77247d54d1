"""What trials cost, and how long they take altogether."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from tests.unit.producer.estimate.estimate_fakes import planned

from harbor_aws.infra.capacity import Limit, Limits
from harbor_aws.producer.estimate.bill import bill
from harbor_aws.producer.estimate.forecast import TrialTimes

WIDE = Limits(account_vcpus=inf, max_vcpus=100_000.0)
HOUR = 2 * 0.04048 + 4 * 0.004445
"""Dollars, of 2 vCPU and 4 GB."""


def test_at_most_is_all_the_time_of_every_pod() -> None:
    """By hand: ten trials of two pods of an hour, each of 2 vCPU and 4 GB."""
    found = bill([planned(f"t{number}", pods=2) for number in range(10)], None, limits=WIDE)
    assert found.consumption.pods == 20
    assert (found.consumption.vcpu_hours, found.consumption.memory_gb_hours) == (40, 80)
    assert found.pods_usd == pytest.approx(20 * HOUR)
    assert found.usd == pytest.approx(found.pods_usd + found.workers_usd)
    assert found.seconds is not None
    assert 7200 < found.seconds < 7200 + 300


def test_about_is_the_times_that_are_expected() -> None:
    """The agent's pod has its own; several verifiers share theirs; a pod is billed a minute at least."""
    trial = planned("a", pods=3)
    for verifier, billed in ((400, 400), (20, 2 * 60)):
        times = {"a": TrialTimes(agent=1800, verifier=verifier, start=0)}
        assert bill([trial], times, limits=WIDE).pods_usd == pytest.approx(HOUR * (1800 + billed) / 3600)


def test_few_vcpus_make_it_long_and_are_said() -> None:
    """Four at once instead of a hundred take 25 times as long; pods cost the same, workers more."""
    trials = [planned(f"t{number}") for number in range(100)]
    fast, slow = (bill(trials, None, limits=limits) for limits in (WIDE, replace(WIDE, max_vcpus=8.0, max_workers=4)))
    assert fast.seconds is not None
    assert slow.seconds is not None
    assert slow.seconds > 24 * 3600 > fast.seconds
    assert slow.limited_by is Limit.STACK_VCPUS
    assert slow.model_dump(mode="json")["limited_by"] == "stack's vCPUs"
    assert (slow.trials_at_once, slow.vcpus_at_once) == (4, 8)
    assert slow.pods_usd == fast.pods_usd
    assert slow.workers_usd > fast.workers_usd


def test_what_never_runs_is_said() -> None:
    """There is a price for it all the same."""
    found = bill([planned("a")], None, limits=replace(WIDE, max_vcpus=1.0, max_workers=1))
    assert (found.seconds, found.limited_by) == (None, None)
    assert found.never == "This can never run: a trial takes 2 vCPUs, and the stack's vCPUs leave 1."
    assert bill([planned("a")], None, limits=WIDE).never is None
    assert found.usd == pytest.approx(HOUR, rel=0.1)


def test_an_older_plan_has_a_pod_of_the_default_size() -> None:
    """It does not say what its trials start, nor what bounds them but the deadline of 11.5 hours."""
    found = bill([planned("a").model_copy(update={"pods": ()})], None, limits=WIDE)
    assert found.consumption.vcpu_hours == 11.5
    assert found.consumption.memory_gb_hours == 3 * 11.5


def test_a_verifier_beside_the_agent_takes_its_vcpus_and_no_time_of_its_own() -> None:
    """Two hours of agent and last verifier, one of which has the first verifier beside it: 4 vCPUs at once."""
    trial = planned("a", pods=3)
    agent, first, last = trial.pods
    beside = first.model_copy(update={"is_beside_agent": True})
    steps = trial.model_copy(update={"pods": (agent, beside, last)})
    for times, hours in ((None, 2), ({"a": TrialTimes(agent=1800, verifier=3600, start=0)}, 1)):
        found = bill([steps], times, limits=WIDE)
        assert found.seconds is not None
        assert hours * 3600 <= found.seconds < hours * 3600 + 300
        assert found.vcpus_at_once == 4
        assert found.consumption.vcpu_hours == pytest.approx(6 if times is None else 3)
    assert bill([steps], None, limits=replace(WIDE, max_vcpus=3.0, max_workers=1)).never
    one_by_one = bill([trial], None, limits=WIDE)
    assert (one_by_one.vcpus_at_once, (one_by_one.seconds or 0) > 2.9 * 3600) == (2, True)


def test_nothing_costs_nothing() -> None:
    """Of a job of which nothing is left."""
    found = bill([], {}, limits=WIDE)
    assert (found.usd, found.consumption.pods) == (0, 0)
