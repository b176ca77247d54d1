"""Pods without an owner, on the embedded Kubernetes' own API."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.unit.worker.embedded_api import Faults, serve_api
from tests.unit.worker.fake_kubernetes import refusal

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.presence import lease, lease_name, leases_path
from harbor_aws.worker import reaper as reaper_module
from harbor_aws.worker.pod_spec import PodOwner, PodRequest, pod_manifest
from harbor_aws.worker.presence import PresenceTerms
from harbor_aws.worker.reaper import Reaper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STACK = "stack"
TERMS = PresenceTerms(interval_seconds=40, duration_seconds=320)
GENEROUS_SECONDS = 30


@dataclass
class Bench:
    """A reaper whose clock the test moves, and the cluster that it looks at."""

    cluster: Cluster
    faults: Faults
    known: set[str] = field(default_factory=set)
    now: float = 0.0
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reaper = Reaper(
            self.cluster,
            stack=STACK,
            worker="me",
            is_known=self.known.__contains__,
            terms=TERMS,
            on_count=self.counts.append,
            clock=lambda: self.now,
        )

    async def renew(self, worker: str, *, stack: str = STACK) -> None:
        path = leases_path(self.cluster.namespace)
        body = lease(stack=stack, worker=worker, duration_seconds=TERMS.duration_seconds)
        existing = await self.cluster.request("GET", path)
        if lease_name(worker) in {item["metadata"]["name"] for item in existing["items"]}:
            await self.cluster.request(
                "PATCH", f"{path}/{lease_name(worker)}", body=body, content_type="application/merge-patch+json"
            )
        else:
            await self.cluster.request("POST", path, body=body)

    async def make_pod(self, trial: str, *, worker: str, stack: str | None = STACK) -> str:
        owner = PodOwner(job="j", trial=trial, attempt_id="a", worker=worker, session=f"{trial}__env", stack=stack)
        request = PodRequest(owner=owner, image="i", size=FargateSize(250, 512), deadline_seconds=99)
        await self.cluster.request("POST", self.cluster.pods_path, body=pod_manifest(request))
        return owner.pod_name

    async def look(self, *alive: str, times: int = 1) -> list[str]:
        """Let time pass, those who live renew, and the reaper look."""
        removed = []
        for _ in range(times):
            self.now += TERMS.interval_seconds
            for worker in ("me", *alive):
                await self.renew(worker)
            removed += await self.reaper.look()
        return removed

    async def pods(self) -> set[str]:
        answer = await self.cluster.request("GET", self.cluster.pods_path)
        return {item["metadata"]["name"] for item in answer["items"] if "deletionTimestamp" not in item["metadata"]}

    async def owners(self) -> set[str]:
        answer = await self.cluster.request("GET", leases_path(self.cluster.namespace))
        return {item["spec"]["holderIdentity"] for item in answer["items"]}


@pytest_asyncio.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(reaper_module, "_PATIENCE_SECONDS", 0)
    async with serve_api(tmp_path) as (access, faults), Cluster.open(access) as cluster:
        await cluster.ensure_namespace()
        yield Bench(cluster, faults)


async def test_the_pods_of_a_dead_worker_are_removed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason in the log; and its sign of life after them."""
    pod = await bench.make_pod("t", worker="dead")
    await bench.renew("dead")
    with caplog.at_level(logging.WARNING):
        assert await bench.look(times=14) == [pod]
    assert await bench.pods() == set()
    assert await bench.owners() == {"me"}
    assert f"Removed pod {pod} of trial t of job j: its owner dead has given no sign of life" in caplog.text


async def test_the_living_keep_their_pods_for_ever(bench: Bench) -> None:
    """However long it goes on."""
    pods = {await bench.make_pod(f"t{n}", worker="alive") for n in range(3)}
    assert await bench.look("alive", times=40) == []
    assert await bench.pods() == pods


async def test_a_frozen_worker_keeps_its_pods_for_as_long_as_its_sign_lasts(bench: Bench) -> None:
    """Seven intervals are less than its 320 seconds; after it woke up it has all of them again."""
    pod = await bench.make_pod("t", worker="frozen")
    assert await bench.look("frozen") == []
    for _ in range(3):
        assert await bench.look(times=7) == []
        assert await bench.look("frozen") == []
    assert await bench.pods() == {pod}


async def test_a_pod_that_was_made_on_waking_up_is_safe(bench: Bench) -> None:
    """It was not there at the look before, and at the next one its owner lives."""
    await bench.renew("frozen")
    old = await bench.make_pod("old", worker="frozen")
    assert await bench.look(times=11) == []
    new = await bench.make_pod("new", worker="frozen")
    assert await bench.look() == [old]
    assert await bench.look("frozen", times=3) == []
    assert await bench.pods() == {new}


async def test_pods_whose_owner_has_no_sign_at_all_are_removed(bench: Bench) -> None:
    """A worker that ended and could not delete one of its pods."""
    pod = await bench.make_pod("t", worker="gone")
    assert await bench.look(times=4) == [pod]


async def test_a_pod_that_its_own_worker_forgot_is_removed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Those that it uses stay."""
    kept, forgotten = await bench.make_pod("kept", worker="me"), await bench.make_pod("forgotten", worker="me")
    bench.known.add(kept)
    assert await bench.look(times=3) == [forgotten]
    assert "this worker does not know it any more" in caplog.text


async def test_other_stacks_and_nobodys_pods_are_not_touched(bench: Bench) -> None:
    """Whoever their owners are."""
    pods = {
        await bench.make_pod("a", worker="gone", stack="other"),
        await bench.make_pod("b", worker="gone", stack=None),
    }
    await bench.renew("theirs", stack="other")
    assert await bench.look(times=20) == []
    assert await bench.pods() == pods
    assert await bench.owners() == {"me", "theirs"}


async def test_a_pod_of_the_same_name_is_another(bench: Bench) -> None:
    """What was seen is deleted, not whatever has its name by then."""
    name = await bench.make_pod("t", worker="gone")
    await bench.look(times=2)
    await bench.cluster.request("DELETE", f"{bench.cluster.pods_path}/{name}")
    while await bench.pods():
        await asyncio.sleep(0.01)
    await bench.make_pod("t", worker="alive")
    assert await bench.look("alive", times=3) == []
    assert await bench.pods() == {name}


async def test_after_an_outage_everybody_has_their_time_again(bench: Bench) -> None:
    """Nobody could renew while the cluster was away, and nobody dies of it."""
    pod = await bench.make_pod("t", worker="w")
    await bench.look("w", times=3)
    bench.faults.interfere = lambda _request: refusal(503)
    for _ in range(10):
        bench.now += TERMS.interval_seconds
        with pytest.raises(TransientError):
            await bench.reaper.look()
    bench.faults.interfere = lambda _request: None
    assert await bench.look(times=5) == []
    assert await bench.look("w", times=5) == []
    assert await bench.pods() == {pod}


async def test_a_cluster_that_takes_no_renewals_loses_no_pods(bench: Bench) -> None:
    """It answers every look, and everybody looks dead."""
    pod = await bench.make_pod("t", worker="w")
    await bench.look("w", times=3)
    for _ in range(20):
        bench.now += TERMS.interval_seconds
        assert await bench.reaper.look() == []
    assert await bench.pods() == {pod}


async def test_a_look_is_two_lists_and_leaves_out_what_lives(bench: Bench) -> None:
    """A hundred workers' pods are not read again and again by each of them."""
    for worker in ("a", "b"):
        await bench.make_pod(worker, worker=worker)
    await bench.look("a", "b", times=2)
    bench.now += TERMS.interval_seconds
    bench.faults.requests.clear()
    await bench.reaper.look()
    pods, leases = bench.faults.requests
    assert pods.query["labelSelector"].endswith("harbor-aws/worker notin (a,b)")
    assert (pods.query["resourceVersion"], "resourceVersion" in leases.query) == ("0", False)


async def test_it_goes_on_after_whatever_went_wrong(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A look that fails is said once and made again."""
    looks = 0

    async def look() -> list[Any]:
        nonlocal looks
        looks += 1
        raise (TransientError("away") if looks % 2 else ValueError("unforeseen"))

    monkeypatch.setattr(bench.reaper, "look", look)
    monkeypatch.setattr(bench.reaper, "_interval_seconds", 0.001)
    running = asyncio.create_task(bench.reaper.run())
    async with asyncio.timeout(GENEROUS_SECONDS):
        while looks < 5:
            await asyncio.sleep(0.01)
    running.cancel()
    assert caplog.text.count("Pods without an owner cannot be looked for") == 1


async def test_how_many_make_pods_is_told_at_every_look(bench: Bench) -> None:
    """This process among them, and others' stacks not; the dead no longer once it is certain that they are."""
    await bench.renew("elsewhere", stack="other")
    await bench.look("a", "b")
    await bench.look("a", times=12)
    assert bench.counts[:2] == [3, 3]
    assert bench.counts[-1] == 2
    assert len(bench.counts) == 13


async def test_shares_are_known_from_the_first_moment(bench: Bench) -> None:
    """A reaper that runs looks before it rests for the first time."""
    await bench.renew("me")
    await bench.renew("a")
    running = asyncio.create_task(bench.reaper.run())
    try:
        async with asyncio.timeout(GENEROUS_SECONDS):
            while not bench.counts:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert bench.counts == [2]
