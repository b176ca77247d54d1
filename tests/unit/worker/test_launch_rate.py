"""Turns to launch pods: how many come in which time, in which order, and what becomes of those nobody uses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.worker.embedded_api import serve_api

from harbor_aws.infra.errors import CapacityError
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.worker import launch_rate
from harbor_aws.worker.launch_rate import Launches, TokenBucket
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import PodKeeper
from harbor_aws.worker.presence import PresenceTerms, keep_presence
from harbor_aws.worker.reaper import reaping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp import web

    from harbor_aws.infra.stack import KubernetesAccess

GENEROUS_SECONDS = 30
HOURS = 3600.0

steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 100)),
        st.tuples(st.just("share"), st.integers(1, 50)),
        st.tuples(st.just("take"), st.just(0)),
    ),
    max_size=200,
)


@given(per_second=st.floats(0.1, 100), burst=st.floats(1, 100), steps=steps)
def test_never_more_than_the_rate(per_second: float, burst: float, steps: list[tuple[str, float]]) -> None:
    """Whatever happens when: no more are taken than the burst and what the rate made since, at the share of then."""
    now, made, taken = 0.0, 1.0, 0
    bucket = TokenBucket(per_second=per_second, burst=burst, now=now)
    sharers = 1
    for what, amount in steps:
        match what:
            case "pass":
                now += amount
                made += amount * per_second / sharers
            case "share":
                sharers = int(amount)
                bucket.share_among(sharers, now=now)
            case _:
                taken += bucket.take(now=now)
        assert taken <= made + 1e-6 * (1 + made)


@given(sharers=st.integers(1, 200), idle=st.floats(0, HOURS))
def test_all_sharers_together_keep_the_burst(sharers: int, idle: float) -> None:
    """After a pause of any length they launch the burst between them, and each at least one."""
    buckets = [TokenBucket(per_second=20, burst=20, now=0) for _ in range(sharers)]
    taken = 0
    for bucket in buckets:
        bucket.share_among(sharers, now=0)
        while bucket.take(now=idle):
            taken += 1
    assert taken <= max(20, sharers)


@given(per_second=st.floats(0.01, 100), sharers=st.integers(1, 100), after=st.floats(0, 10))
def test_the_next_one_comes_when_it_says(per_second: float, sharers: int, after: float) -> None:
    """Not before, and not later."""
    bucket = TokenBucket(per_second=per_second, burst=1, now=0)
    bucket.share_among(sharers, now=0)
    assert bucket.take(now=0)
    wait = bucket.seconds_until_next(now=after)
    if wait > 1e-6:
        assert not bucket.take(now=after + wait * 0.999)
    assert bucket.take(now=after + wait * 1.001 + 1e-9)


def test_one_that_begins_has_no_burst() -> None:
    """Others may begin at the same moment; but it need not wait for its first."""
    bucket = TokenBucket(per_second=20, burst=20, now=0)
    assert [bucket.take(now=0) for _ in range(2)] == [True, False]


def test_what_is_given_back_is_there_at_once() -> None:
    """And never more than the burst."""
    bucket = TokenBucket(per_second=1 / HOURS, burst=1, now=0)
    assert bucket.take(now=0)
    for _ in range(3):
        bucket.give_back(now=0)
    assert [bucket.take(now=0) for _ in range(2)] == [True, False]


def rare() -> Launches:
    """A turn now, and hardly another while a test lasts."""
    return Launches(per_second=1 / HOURS, burst=1)


async def settle(condition: Callable[[], bool] = lambda: False) -> None:
    """Let tasks go on as far as they can, or until something holds."""
    for _ in range(50):
        if condition():
            return
        await asyncio.sleep(0)


async def test_without_a_rate_nobody_waits() -> None:
    """As on the local stack."""
    launches = Launches()
    async with asyncio.timeout(GENEROUS_SECONDS):
        for _ in range(10_000):
            await launches.spend(None)


async def test_turns_come_at_the_rate() -> None:
    """Counted, not timed to the tenth: 40 at 100 a second take 0.39 s, and may take longer, but no less."""
    launches = Launches(per_second=100, burst=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await asyncio.gather(*(launches.spend(None) for _ in range(40)))
    assert loop.time() - began >= 0.38


async def test_a_smaller_share_is_slower_at_once() -> None:
    """Also for those who wait already."""
    launches = Launches(per_second=1, burst=1)
    tasks = [asyncio.create_task(launches.spend(None)) for _ in range(2)]
    await asyncio.sleep(0)
    launches.share_among(10**9)
    await settle()
    assert [task.done() for task in tasks] == [True, False]
    launches.share_among(1)
    async with asyncio.timeout(GENEROUS_SECONDS):
        await tasks[1]


async def test_a_trial_under_way_goes_first() -> None:
    """Harbor's clock runs for it; those who have not begun wait in their order."""
    launches = rare()
    order: list[str] = []

    async def begin(name: str) -> None:
        async with launches.reserved():
            order.append(name)

    async def go_on(name: str) -> None:
        await launches.spend(None)
        order.append(name)

    async with launches.reserved():
        tasks = [asyncio.create_task(begin(name)) for name in ("a", "b")]
        tasks += [asyncio.create_task(go_on("under way"))]
        await settle()
        assert order == []
    await settle()
    assert order == ["under way"]
    launches.share_among(1)
    launches._give_back(launches._waiting)  # as if an hour had passed
    await settle(lambda: len(order) == 3)
    assert order == ["under way", "a", "b"]  # neither spent it, so one was enough for both
    async with asyncio.timeout(GENEROUS_SECONDS):
        await asyncio.gather(*tasks)


async def test_a_reserved_turn_is_spent_once() -> None:
    """The second pod of a trial needs another one."""
    launches = rare()
    async with launches.reserved() as turn:
        await asyncio.wait_for(launches.spend(turn), GENEROUS_SECONDS)
        second = asyncio.create_task(launches.spend(turn))
        await settle()
        assert not second.done()
        second.cancel()
    third = asyncio.create_task(launches.spend(None))
    await settle()
    assert not third.done()  # it was spent, and nothing came back
    third.cancel()
    await asyncio.gather(second, third, return_exceptions=True)


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_who_gives_up_costs_nobody_a_turn(is_waiting: bool) -> None:
    """Cancelled in line, or at the moment at which the turn came."""
    launches = rare()
    async with launches.reserved():
        first, second = (asyncio.create_task(launches.spend(None)) for _ in range(2))
        await settle()
        if is_waiting:
            first.cancel()
            await settle()
    if not is_waiting:
        assert not first.done()
        first.cancel()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await second
    assert first.cancelled() or first.cancelling()
    await asyncio.gather(first, return_exceptions=True)


TERMS = PresenceTerms(interval_seconds=0.2, duration_seconds=30)
RATE, PODS_EACH = 20.0, 15


@asynccontextmanager
async def worker(access: KubernetesAccess, name: str) -> AsyncIterator[PodKeeper]:
    """A process's keeper of pods, seen to live and counting the others, as the worker opens it."""
    launches = Launches(per_second=RATE, burst=1)
    async with (
        PodKeeper.open(access, worker=name, launches=launches) as pods,
        keep_presence(pods.cluster, stack="s", worker=name, terms=TERMS),
        reaping(pods, stack="s", terms=TERMS),
    ):
        yield pods


async def launch(pods: PodKeeper, number: int) -> None:
    owner = PodOwner(
        job="j",
        trial=f"{pods.worker}-{number}",
        attempt_id="a",
        worker=pods.worker,
        session=f"{number}__env",
        stack="s",
    )
    await pods.launches.spend(None)
    await pods.create(PodRequest(owner=owner, image="i", size=FargateSize(250, 512), deadline_seconds=99))


@pytest.mark.slow
async def test_two_workers_launch_no_more_than_the_account_may(tmp_path: Path) -> None:
    """Each knows of the other by its sign of life alone: the pods that the cluster is asked for come at one rate."""
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    def count(request: web.Request) -> None:
        if request.method == "POST" and request.path.endswith("/pods"):
            asked.append(loop.time())

    async with serve_api(tmp_path) as (access, faults), worker(access, "one") as one, worker(access, "two") as two:
        await asyncio.sleep(5 * TERMS.interval_seconds)  # several looks
        faults.interfere = count
        began = loop.time()
        async with asyncio.timeout(GENEROUS_SECONDS):
            await asyncio.gather(*(launch(each, n) for each in (one, two) for n in range(PODS_EACH)))
    assert len(asked) == 2 * PODS_EACH
    # A token of each is there at once; the others are made, by both together, at the whole rate.
    earliest = [began + max(0, n - 2) / RATE for n in range(1, len(asked) + 1)]
    assert all(at >= then - 0.05 for at, then in zip(asked, earliest, strict=True))


async def test_a_turn_that_does_not_come_is_a_want_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial goes to wait in the queue, and whoever is next has the turn that it did not get."""
    monkeypatch.setattr(launch_rate, "TURN_PATIENCE_SECONDS", 0.05)
    launches = rare()
    async with launches.reserved():
        with pytest.raises(CapacityError, match="no turn to launch"):
            async with launches.reserved():
                pass
    async with launches.reserved():
        pass
