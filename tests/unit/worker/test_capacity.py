"""Trials whose pods find no room, are evicted, or are too small: through Harbor's trial, the environment and the
keeper, against a cluster's stand-in and queues in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio
from tests.unit.worker.fake_kubernetes import PODS, FakeKubernetes, refusal, serve
from tests.unit.worker.fake_shell import FakeShell
from tests.unit.worker.test_trial import Bench

from harbor_aws.producer.celery_message import decode
from harbor_aws.producer.state import Phase
from harbor_aws.worker import launch_pause
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp import web

    from harbor_aws.producer.message import TrialMessage

# Harbor itself calls what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

GENEROUS_SECONDS = 60
REFUSED = "Your AWS account has reached the limit on the number of Fargate pods it can run concurrently"
FAKES = "tests.unit.worker.pod_environment"

Json = dict[str, Any]


@dataclass
class Fleet:
    """One worker's trial side, whose queue is read by hand, and the cluster that its pods are on."""

    bench: Bench
    kubernetes: FakeKubernetes

    def first(self, *, agent: str = "tests.unit.worker.trial_fakes:IdleAgent", **fields: Any) -> Delivery:
        config = {
            "environment": {"import_path": f"{FAKES}:PlayedEnvironment"},
            "agent": {"import_path": agent},
            "environment_build_timeout_multiplier": 1000,
        }
        return self.bench.delivery(config=config, **fields)

    def next(self) -> Delivery:
        """The message that the last attempt sent, as SQS would give it."""
        body = self.bench.queue.sent[-1].body
        return Delivery(decode(body), body, 1, f"m{len(self.bench.queue.sent)}")

    @property
    def last(self) -> TrialMessage:
        return self.bench.next_attempts[-1]

    async def run(self, delivery: Delivery, *, on_pod: Callable[[str], None]) -> None:
        """Run an attempt, and let the cluster do something about each of its pods when it is made."""
        known = {*self.kubernetes.pods, *self.kubernetes.deleted}
        running = asyncio.create_task(self.bench.run(delivery))
        async with asyncio.timeout(GENEROUS_SECONDS):
            while not running.done():
                for name in set(self.kubernetes.pods) - known:
                    known.add(name)
                    on_pod(name)
                await asyncio.sleep(0.005)
        await running

    def refuse(self, name: str) -> None:
        """As Fargate's scheduler does."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": REFUSED}
        self.kubernetes.change(name, phase="Pending", conditions=[condition])

    def end_in_its_agent(self, name: str, **status: Any) -> None:
        self.kubernetes.run(name)
        self._end_in_its_agent(name, status)

    def _end_in_its_agent(self, name: str, status: Json) -> None:
        if self.bench.state is not None and self.bench.state.phase is Phase.AGENT:
            self.kubernetes.change(name, **status)
        else:
            asyncio.get_running_loop().call_later(0.01, self._end_in_its_agent, name, status)


def be_patient(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    """How long a pod without room is waited for."""
    monkeypatch.setattr("harbor_aws.worker.environment.CAPACITY_PATIENCE_SECONDS", seconds)


@pytest_asyncio.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr(launch_pause, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(launch_pause, "LONGEST_PAUSE_SECONDS", 0.02)
    be_patient(monkeypatch, seconds=0.1)
    kubernetes = FakeKubernetes()
    kubernetes.exec = FakeShell()
    async with serve(kubernetes, tmp_path) as access, PodKeeper.open(access, worker="w") as keeper:
        bench = Bench(tmp_path)
        bench.pods = cast("Any", keeper)
        yield Fleet(bench, kubernetes)


async def test_a_trial_waits_for_capacity_and_is_then_its_first_attempt(fleet: Fleet) -> None:
    """Its pods are refused for as long as there is no room. No attempt is charged, nothing is left, and it commits."""
    await fleet.run(fleet.first(attempts=1), on_pod=fleet.refuse)
    for number in (2, 3):
        await fleet.run(fleet.next(), on_pod=fleet.refuse)
        assert (fleet.last.attempt, fleet.last.waits, fleet.last.disruptions) == (number + 1, number, 0)
        assert fleet.last.refusals == number
    assert [message.delay_seconds >= 22 for message in fleet.bench.queue.sent] == [True] * 3
    assert [(each.attempt, each.cause) for each in fleet.last.history] == [(3, "CapacityError")]
    assert fleet.bench.state is not None
    assert "L-3032A538" in (fleet.bench.state.reason or "")
    assert (fleet.bench.state.phase, fleet.bench.state.logs) == (Phase.RETRYING, None)
    assert not [key for key in fleet.bench.store.objects if "/attempts/" in key]

    await fleet.run(fleet.next(), on_pod=fleet.kubernetes.run)
    assert fleet.bench.result is not None
    assert fleet.bench.result["rewards"] == {"reward": 1.0}
    assert fleet.bench.causes == []
    assert fleet.kubernetes.pods == {}
    assert len(fleet.kubernetes.deleted) == 4


async def test_nothing_more_is_launched_beside_a_pod_without_room(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first refusal on, not only once it is given up."""
    be_patient(monkeypatch, seconds=GENEROUS_SECONDS)
    monkeypatch.setattr(launch_pause, "LONGEST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(launch_pause, "FIRST_PAUSE_SECONDS", 3600.0)
    running = asyncio.create_task(fleet.run(fleet.first(), on_pod=fleet.refuse))
    async with asyncio.timeout(GENEROUS_SECONDS):
        while not fleet.bench.pods.launches._pause.seconds:
            await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), fleet.bench.pods.launches.reserved():
            pass
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (name,) = fleet.kubernetes.pods
    await fleet.bench.pods.delete(name)


async def test_a_day_without_room_is_a_dead_letter(fleet: Fleet) -> None:
    """That says how long it was, and what to do."""
    await fleet.run(fleet.first(attempt=99, waits=98, refusals=98), on_pod=fleet.refuse)
    assert (fleet.bench.causes, fleet.last.refusals) == ([], 99)
    await fleet.run(fleet.next(), on_pod=fleet.refuse)
    assert fleet.bench.causes == ["CapacityError"]
    reason = fleet.bench.dead_letters.sent[0].attributes["reason"]
    assert "refused 100 times, for about a day" in reason
    assert "L-3032A538" in reason
    assert fleet.kubernetes.pods == {}


async def test_a_pod_that_gets_room_in_place_pauses_nothing_for_long(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused and then admitted, as where nodes are full for a moment: the trial commits, and launches go on."""
    be_patient(monkeypatch, seconds=GENEROUS_SECONDS)
    monkeypatch.setattr(launch_pause, "LONGEST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(launch_pause, "FIRST_PAUSE_SECONDS", 3600.0)

    def later(name: str) -> None:
        fleet.refuse(name)
        asyncio.get_running_loop().call_later(0.05, fleet.kubernetes.run, name)

    await fleet.run(fleet.first(), on_pod=later)
    assert fleet.bench.result is not None
    async with asyncio.timeout(GENEROUS_SECONDS), fleet.bench.pods.launches.reserved():
        pass


async def test_what_a_wait_costs_the_cluster(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One list, one pod made and deleted, one look at its events: with at most seven tries an hour, 28 requests."""
    fleet.kubernetes.events = [{"reason": "FailedScheduling", "message": REFUSED, "count": 3}]
    await fleet.run(fleet.first(), on_pod=fleet.refuse)
    be_patient(monkeypatch, seconds=2)  # a pod that is refused later than that has its events asked for before
    fleet.kubernetes.requests.clear()
    await fleet.run(fleet.next(), on_pod=fleet.refuse)
    words = [word.split()[0] for word in fleet.kubernetes.requests]
    assert sorted(words) == ["DELETE", "GET", "GET", "POST"]


async def test_a_refusal_that_only_an_event_tells(fleet: Fleet) -> None:
    """Where no condition says why a pod has no node, its events are looked at before the start times out."""
    fleet.kubernetes.events = [{"reason": "FailedScheduling", "message": REFUSED, "count": 3}]
    await fleet.run(fleet.first(), on_pod=lambda _name: None)
    assert (fleet.last.waits, fleet.last.history[-1].cause) == (1, "CapacityError")


async def test_the_stacks_own_quota_is_waited_for(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster refuses the pod, and the trial waits as for the account's."""
    monkeypatch.setattr("harbor_aws.infra.cluster.PATIENCE_SECONDS", 0)
    monkeypatch.setattr(
        "harbor_aws.infra.cluster.Cluster.request.__kwdefaults__",
        {"query": None, "body": None, "content_type": "application/json", "patience_seconds": 0},
    )

    async def full(word: str) -> web.Response | None:
        return refusal(403, "pods is forbidden: exceeded quota: trials") if word == f"POST {PODS}" else None

    fleet.kubernetes.interfere = full
    await fleet.run(fleet.first(), on_pod=fleet.kubernetes.run)
    assert (fleet.last.waits, fleet.last.history[-1].cause) == (1, "CapacityError")
    assert fleet.bench.state is not None
    assert "--max-vcpus" in (fleet.bench.state.reason or "")


async def test_a_trial_whose_room_was_found_waits_anew(fleet: Fleet) -> None:
    """What fails after that is charged, and the day of waiting begins again."""
    await fleet.run(fleet.first(agent=f"{FAKES}:HangingAgent"), on_pod=fleet.refuse)
    lose = {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 1}}}]}
    await fleet.run(fleet.next(), on_pod=lambda name: fleet.end_in_its_agent(name, **lose))
    assert (fleet.last.attempt, fleet.last.waits, fleet.last.refusals) == (3, 1, 0)
    assert [each.cause for each in fleet.last.history] == ["CapacityError", "PodFailedError"]
    assert fleet.bench.queue.sent[-1].delay_seconds == 5


async def test_an_eviction_mid_trial_is_not_charged(fleet: Fleet) -> None:
    """The pod is taken away while the agent works: the trial is run again, even on a budget of one attempt."""
    evicted = {
        "phase": "Failed",
        "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 0}}}],
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting"}],
    }  # fmt: skip
    delivery = fleet.first(agent=f"{FAKES}:HangingAgent", attempts=1)
    await fleet.run(delivery, on_pod=lambda name: fleet.end_in_its_agent(name, **evicted))
    assert (fleet.last.attempt, fleet.last.disruptions, fleet.last.waits) == (2, 1, 0)
    assert fleet.last.history[-1].cause == "EvictedError"
    assert (fleet.bench.causes, fleet.bench.result) == ([], None)


async def test_a_pod_that_is_too_small_is_tried_twice(fleet: Fleet) -> None:
    """Out of memory is never a result; the second time it is a dead letter that says how to give more."""
    killed = {
        "phase": "Failed",
        "containerStatuses": [{"name": "main", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
    }
    delivery = fleet.first(agent=f"{FAKES}:HangingAgent", attempts=5)
    await fleet.run(delivery, on_pod=lambda name: fleet.end_in_its_agent(name, **killed))
    assert fleet.bench.causes == []
    await fleet.run(fleet.next(), on_pod=lambda name: fleet.end_in_its_agent(name, **killed))
    assert fleet.bench.causes == ["OutOfMemoryError"]
    assert "--override-memory-mb" in fleet.bench.dead_letters.sent[0].attributes["reason"]
    assert fleet.bench.result is None


async def test_launches_slow_down_while_there_is_no_room(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal the next trial waits for its turn, without a pod; one under way does not."""
    monkeypatch.setattr(launch_pause, "LONGEST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(launch_pause, "FIRST_PAUSE_SECONDS", 3600.0)
    await fleet.run(fleet.first(), on_pod=fleet.refuse)
    launches = fleet.bench.pods.launches
    waiting = asyncio.create_task(fleet.bench.run(fleet.next()))
    async with asyncio.timeout(GENEROUS_SECONDS):
        await launches.spend(None)
    await asyncio.sleep(0.3)
    assert not waiting.done()
    assert len(fleet.kubernetes.deleted) == 1
    assert fleet.kubernetes.pods == {}
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
