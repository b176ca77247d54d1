"""The model beside arithmetic, where one thing binds and nothing else takes time."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.infra.capacity.boundless import BOUNDLESS, lasting

from harbor_aws.infra.capacity import Limit, Limits, NeverRunsError, TrialDemand, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence


def mixed(count: int) -> list[TrialDemand]:
    """Trials of 1, 2 and 4 vCPUs and of 1 to 20 minutes."""
    draw = Random(7)  # noqa: S311 - no secret
    return [TrialDemand(draw.choice((1000, 2000, 4000)), draw.uniform(60, 1200), 500) for _ in range(count)]


def test_what_nothing_binds_lasts_as_long_as_its_longest_trial() -> None:
    """Without bounds all trials run at once, and nothing is said to bind."""
    run = simulate(lasting(10, 300, 20), BOUNDLESS)
    assert run.wall_clock_seconds == 300
    assert run.waits == {}
    assert run.binding is None
    assert run.peak_pods == 3


ONE_BOUND: list[tuple[Limit, dict[str, Any], Sequence[TrialDemand], float]] = [
    (Limit.ACCOUNT_VCPUS, {"account_vcpus": 101 + 1, "system_vcpus": 1}, lasting(*[60] * 1000), 600),
    (Limit.STACK_VCPUS, {"max_vcpus": 100}, lasting(*[60] * 500, cpu_millis=2000), 600),
    (Limit.SLOTS, {"slots_per_worker": 10}, lasting(*[60] * 100), 600),
    (Limit.SLOTS, {"slots_per_worker": 10, "slot_overhead_seconds": 15}, lasting(*[60] * 100), 750),
    (Limit.IN_FLIGHT, {"messages_in_flight": 10}, lasting(*[60] * 100), 600),
    (Limit.LAUNCH_RATE, {"launches_per_second": 20, "launch_burst": 100}, lasting(*[0] * 20_100), 1000),
    (
        Limit.API,
        {"api_seats": 10, "api_seconds_per_request": 0.5, "api_requests_per_trial": 4},
        lasting(*[0] * 501),
        100,
    ),
    (Limit.S3, {"s3_writes_per_second": 70, "s3_writes_per_trial": 7}, lasting(*[0] * 1001), 100),
    (Limit.NODES, {"cluster_nodes": 25, "system_pods": 4}, lasting(*[60] * 200), 600),
    (Limit.ADDRESSES, {"addresses": 25, "system_pods": 4}, lasting(*[60] * 200), 600),
    (Limit.ECR, {"ecr_layer_urls_per_second": 120, "layers_per_image": 12}, lasting(*[0] * 1001), 100),
    (Limit.DOCKER_HUB, {"hub_pulls_in_six_hours": 100}, lasting(*[0] * 301), 3 * 6 * 3600),
    (Limit.NAT, {"nat_mib_per_second": 1000}, lasting(*[0] * 1000, image_mib=500), 500),
]


@pytest.mark.parametrize(("limit", "bounds", "demand", "seconds"), ONE_BOUND)
def test_one_bound_alone(limit: Limit, bounds: dict[str, Any], demand: Sequence[TrialDemand], seconds: float) -> None:
    """Where one limit binds the wall clock is work divided by it, and all waiting is counted to it."""
    run = simulate(demand, replace(BOUNDLESS, **bounds))
    assert run.wall_clock_seconds == pytest.approx(seconds, rel=0.01)
    assert run.binding is limit
    assert run.share(limit) == pytest.approx(1)


def test_vcpus_of_uneven_trials() -> None:
    """Uneven trials take no less than work by vCPUs, and no more than what may lie idle and the longest add to that."""
    demand = mixed(5000)
    work = sum(each.cpu_millis / 1000 * each.seconds for each in demand)
    run = simulate(demand, replace(BOUNDLESS, max_vcpus=256))
    assert work / 256 <= run.wall_clock_seconds <= work / (256 - 3) + 1200
    assert run.wall_clock_seconds == pytest.approx(work / 256, rel=0.05)
    assert run.peak_vcpus <= 256


def test_an_image_takes_its_time() -> None:
    """A pod that pulls alone takes its image's size by its own bandwidth, besides its node."""
    limits = replace(BOUNDLESS, pull_mib_per_second=25, node_seconds_least=40, node_seconds_most=40)
    assert simulate(lasting(100, image_mib=500), limits).wall_clock_seconds == pytest.approx(40 + 20 + 100)


def test_builds_come_first() -> None:
    """Images are built so many at a time, before any trial begins."""
    run = simulate(lasting(100), replace(BOUNDLESS, builds_at_once=2), build_seconds=[60, 60, 60])
    assert run.wall_clock_seconds == 120 + 100
    assert run.binding is Limit.BUILDS


def test_workers_come_by_the_minute() -> None:
    """From none: half a poll until the first is wanted; a poll later the next, and a minute later the rest."""
    limits = replace(
        BOUNDLESS,
        min_workers=0,
        max_workers=5,
        slots_per_worker=1,
        workers_per_minute=2,
        autoscaler_poll_seconds=10,
        worker_start_seconds=50,
    )
    run = simulate(lasting(*[1000] * 5), limits)
    assert run.wall_clock_seconds == 5 + 10 + 60 + 50 + 1000
    assert run.binding is Limit.WORKERS


def test_who_waits_for_a_slot_of_those_who_wait_for_vcpus_waits_for_vcpus() -> None:
    """With more slots than vCPUs it is the vCPUs that bind, though most trials wait for a slot."""
    run = simulate(lasting(*[60] * 1000), replace(BOUNDLESS, slots_per_worker=20, max_vcpus=10))
    assert run.binding is Limit.STACK_VCPUS
    assert run.share(Limit.STACK_VCPUS) == pytest.approx(1)
    assert run.longest_pending_seconds == 60


def test_who_waits_for_a_slot_of_those_who_wait_for_their_launch_waits_for_the_launch_rate() -> None:
    """Where slots are full of trials that may not launch yet, more slots would hold more of those."""
    run = simulate(
        lasting(*[30] * 1000), replace(BOUNDLESS, slots_per_worker=20, launches_per_second=0.5, launch_burst=1)
    )
    assert run.binding is Limit.LAUNCH_RATE
    assert run.share(Limit.LAUNCH_RATE) > 0.95
    assert run.wall_clock_seconds == pytest.approx(2000 + 30, rel=0.01)


def test_workers_without_vcpus_for_one_more_are_not_what_binds() -> None:
    """As many workers as the vCPUs have trials for: what lacks is vCPUs, though all trials wait for slots."""
    deployed = Limits(account_vcpus=256, max_vcpus=100_000)
    assert simulate(lasting(*[600] * 1000), deployed).binding is Limit.ACCOUNT_VCPUS
    assert simulate(lasting(*[600] * 1000), replace(deployed, max_workers=5)).binding is Limit.SLOTS
    assert simulate(lasting(*[600] * 1000, cpu_millis=250), deployed).binding is Limit.SLOTS


def test_vcpus_of_pods_whose_images_wait_are_not_what_binds() -> None:
    """Where all pods wait for Docker Hub, whoever waits for their vCPUs waits for Docker Hub."""
    limits = replace(BOUNDLESS, max_vcpus=10, hub_pulls_in_six_hours=5)
    assert simulate(lasting(*[60] * 100), limits).binding is Limit.DOCKER_HUB


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"account_vcpus": 6, "max_workers": 3}, "the account's vCPUs leave 2"),
        ({"max_vcpus": 2}, "the stack's vCPUs leave 2"),
        ({"addresses": 5}, "subnets' addresses leave none"),
        ({"max_workers": 0, "min_workers": 0}, "no worker"),
    ],
)
def test_what_can_never_run(bounds: dict[str, Any], says: str) -> None:
    """A trial that is larger than all there is is refused, and the message says of what there is too little."""
    with pytest.raises(NeverRunsError, match=says):
        simulate(lasting(*[60] * 3, cpu_millis=4000), replace(BOUNDLESS, **{"min_workers": 3, **bounds}))


def test_no_trials() -> None:
    """A run of nothing is over at once."""
    run = simulate([], BOUNDLESS)
    assert (run.wall_clock_seconds, run.peak_pods, run.timeline) == (0, 0, ())
