"""What holds of every run, whatever its trials and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.infra.capacity.boundless import BOUNDLESS

from harbor_aws.infra.capacity import Limits, TrialDemand, simulate

TRIALS = st.lists(
    st.builds(
        TrialDemand,
        cpu_millis=st.sampled_from((250, 1000, 4000)),
        seconds=st.floats(0, 3000),
        image_mib=st.floats(0, 4000),
    ),
    min_size=1,
    max_size=60,
)

TIGHT = st.builds(
    Limits,
    account_vcpus=st.integers(14, 60).map(float),
    max_vcpus=st.integers(4, 40).map(float),
    min_workers=st.integers(0, 2),
    max_workers=st.integers(1, 6),
    slots_per_worker=st.integers(1, 10),
    messages_in_flight=st.integers(1, 50).map(float),
    workers_per_minute=st.integers(1, 4).map(float),
    launches_per_second=st.floats(0.02, 20),
    launch_burst=st.integers(1, 20).map(float),
    api_seats=st.floats(0.1, 500),
    s3_writes_per_second=st.floats(0.5, 100),
    cluster_nodes=st.integers(12, 60).map(float),
    addresses=st.integers(12, 60).map(float),
    pull_mib_per_second=st.floats(5, 50),
    ecr_layer_urls_per_second=st.floats(0.5, 100),
    hub_pulls_in_six_hours=st.integers(3, 100).map(float),
    nat_mib_per_second=st.floats(5, 500),
    slot_overhead_seconds=st.floats(0, 5),
)
"""Limits of which any may bind."""

GROWING = (
    "account_vcpus",
    "max_vcpus",
    "slots_per_worker",
    "messages_in_flight",
    "workers_per_minute",
    "launches_per_second",
    "launch_burst",
    "api_seats",
    "s3_writes_per_second",
    "cluster_nodes",
    "addresses",
    "pull_mib_per_second",
    "ecr_layer_urls_per_second",
    "hub_pulls_in_six_hours",
    "nat_mib_per_second",
)
"""Of these, more is better."""


@given(demand=TRIALS, limits=TIGHT, name=st.sampled_from(GROWING), factor=st.integers(2, 5))
@settings(max_examples=80, deadline=None)
def test_more_of_anything_takes_no_longer(demand: list[TrialDemand], limits: Limits, name: str, factor: int) -> None:
    """Trials keep their order everywhere, so to widen one limit makes none of them later."""
    wider: dict[str, Any] = {name: getattr(limits, name) * factor}
    if name == "slots_per_worker":  # fewer workers would be wanted, and they begin at other times
        limits, wider = replace(limits, min_workers=6), {**wider, "min_workers": 6}
    before = simulate(demand, limits).wall_clock_seconds
    assert simulate(demand, replace(limits, **wider)).wall_clock_seconds <= before + 1e-6


@given(demand=TRIALS, limits=TIGHT)
@settings(max_examples=40, deadline=None)
def test_no_limit_is_exceeded_and_no_time_lost(demand: list[TrialDemand], limits: Limits) -> None:
    """No run has more pods or vCPUs at once than there are, nor ends before the longest trial or the work allows."""
    run = simulate(demand, limits)
    assert run.peak_vcpus <= min(limits.max_vcpus, limits.account_vcpus - limits.system_vcpus)
    assert run.peak_pods <= min(limits.messages_in_flight, limits.cluster_nodes, limits.addresses, len(demand))
    assert run.wall_clock_seconds >= max(each.seconds for each in demand)
    work = sum(each.cpu_millis / 1000 * each.seconds for each in demand)
    assert run.wall_clock_seconds >= work / limits.max_vcpus
    assert sum(run.share(limit) for limit in run.waits) == pytest.approx(1 if run.waits else 0)


@given(demand=TRIALS, limits=TIGHT)
@settings(max_examples=20, deadline=None)
def test_who_waits_is_counted_once(demand: list[TrialDemand], limits: Limits) -> None:
    """All trials are, at every moment, without a pod, in one that starts, in one that runs, or done."""
    run = simulate(demand, limits)
    for moment in run.timeline:
        assert 0 <= moment.waiting + moment.starting + moment.running <= len(demand)
        assert min(moment.waiting, moment.starting, moment.running) >= 0
    blamed = sum(run.waits.values())
    most = run.wall_clock_seconds * len(demand)
    assert blamed <= most


@given(demand=TRIALS)
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_run(demand: list[TrialDemand]) -> None:
    """Chance is in the seed alone."""
    limits = replace(BOUNDLESS, node_seconds_least=30, node_seconds_most=60)
    assert simulate(demand, limits, seed=3) == simulate(demand, limits, seed=3)
