"""What is said to bind is what binds: without it, and without nothing else, a run ends sooner."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from tests.unit.infra.capacity.boundless import BOUNDLESS, lasting

from harbor_aws.infra.capacity import Limit, Limits, relief, simulate

TRIALS = lasting(*[300] * 400, image_mib=100)

BOTTLENECKS: list[tuple[Limit, dict[str, Any]]] = [
    (Limit.SLOTS, {"max_workers": 2, "min_workers": 2, "max_vcpus": 100}),
    (Limit.STACK_VCPUS, {"max_workers": 4, "min_workers": 4, "max_vcpus": 60}),
    (Limit.ACCOUNT_VCPUS, {"max_workers": 4, "min_workers": 4, "account_vcpus": 60}),
    (Limit.LAUNCH_RATE, {"max_workers": 20, "min_workers": 20, "launches_per_second": 0.2}),
    (Limit.WORKERS, {"max_workers": 20, "worker_start_seconds": 1500}),
    (Limit.NODES, {"max_workers": 20, "min_workers": 20, "cluster_nodes": 100}),
    (Limit.DOCKER_HUB, {"max_workers": 20, "min_workers": 20, "max_vcpus": 100, "hub_pulls_in_six_hours": 100}),
    (Limit.NAT, {"max_workers": 20, "min_workers": 20, "max_vcpus": 500, "nat_mib_per_second": 10}),
]


@pytest.mark.parametrize(("limit", "bounds"), BOTTLENECKS)
def test_what_binds_is_what_it_helps_to_lift(limit: Limit, bounds: dict[str, Any]) -> None:
    """Of a whole stack's limits the one that is named is the one whose absence saves the most time."""
    limits = replace(Limits(account_vcpus=inf, max_vcpus=1000), **bounds)
    assert simulate(TRIALS, limits).binding is limit
    saved = relief(TRIALS, limits)
    assert max(saved, key=lambda each: saved[each]) is limit
    assert saved[limit] > 300


def test_nothing_is_gained_where_nothing_binds() -> None:
    """Where no limit binds, to lift any saves nothing."""
    assert set(relief(TRIALS, BOUNDLESS).values()) == {0.0}
