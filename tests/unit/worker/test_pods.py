"""This process's pods, when the cluster is not well."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.unit.worker.fake_kubernetes import PODS, FakeKubernetes, refusal, serve

from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.worker import pod_removal, pod_watch, pods
from harbor_aws.worker.pod_spec import PodOwner, PodRequest
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp import web

GENEROUS_SECONDS = 30

REQUEST = PodRequest(
    owner=PodOwner(job="j", trial="t", attempt_id="a", worker="w", session="t__env"),
    image="i",
    size=FargateSize(250, 512),
    deadline_seconds=1,
)
NAME = REQUEST.owner.pod_name


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> FakeKubernetes:
    """A cluster whose failures are soon tried again."""
    monkeypatch.setattr(pod_watch, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pod_removal, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pod_removal, "LONGEST_PAUSE_SECONDS", 0.1)
    return FakeKubernetes()


@pytest_asyncio.fixture
async def keeper(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[PodKeeper]:
    async with serve(kubernetes, tmp_path) as access, PodKeeper.open(access, worker="w") as pods:
        await until(lambda: "WATCH" in kubernetes.requests)
        yield pods


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GENEROUS_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def breaks(kubernetes: FakeKubernetes, word: str, *, status: int, times: int = 1000) -> None:
    """Let so many requests of a kind fail."""
    left = times

    async def interfere(asked: str) -> web.Response | None:
        nonlocal left
        if not asked.startswith(word) or not left:
            return None
        left -= 1
        return refusal(status)

    kubernetes.interfere = interfere


async def test_a_conflict_without_a_pod_passes(kubernetes: FakeKubernetes, keeper: PodKeeper) -> None:
    """Nothing has the pod's name, so it is made once more, and no reason to give the trial up if that fails too."""
    breaks(kubernetes, "POST", status=409, times=2)
    with pytest.raises(TransientError, match="nothing has its name"):
        await keeper.create(REQUEST)
    breaks(kubernetes, "POST", status=409, times=1)
    assert (await keeper.create(REQUEST)).name == NAME


async def test_the_watch_survives_what_nobody_foresaw(kubernetes: FakeKubernetes, keeper: PodKeeper) -> None:
    """An event that makes no sense costs a new list, and not the sight of every pod from then on."""
    pod = await keeper.create(REQUEST)
    kubernetes.tell({"type": "MODIFIED", "object": {}})
    await until(lambda: kubernetes.requests.count("WATCH") > 1)
    kubernetes.run(NAME)
    await keeper.wait_until_running(pod, timeout_seconds=GENEROUS_SECONDS)


async def test_a_pod_that_is_slow_to_start_is_spoken_of(
    kubernetes: FakeKubernetes, keeper: PodKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in the words that the stack's alarm counts; one that starts in time is not."""
    monkeypatch.setattr(pods, "SLOW_START_SECONDS", 0.05)
    pod = await keeper.create(REQUEST)
    with caplog.at_level(logging.WARNING, pods.__name__):
        waiting = asyncio.create_task(keeper.wait_until_running(pod, timeout_seconds=GENEROUS_SECONDS))
        await until(lambda: bool(caplog.records))
        kubernetes.run(NAME)
        await waiting
        await keeper.wait_until_running(pod, timeout_seconds=GENEROUS_SECONDS)
        await asyncio.sleep(0.1)
    (record,) = caplog.records
    line = f"{record.name} {record.getMessage()}"
    terms = template_body(has_budget=True).split("FilterPattern: '", 1)[1].split("'", 1)[0]
    assert [term for term in terms.strip('"').split('" "') if term not in line] == []


async def test_what_happened_while_the_watch_was_broken_is_listed(
    kubernetes: FakeKubernetes, keeper: PodKeeper
) -> None:
    """After a break the pods are listed, so no change is missed that no event will tell."""
    pod = await keeper.create(REQUEST)
    breaks(kubernetes, "WATCH", status=500, times=3)
    kubernetes.end_watches()
    await until(lambda: kubernetes.requests.count("WATCH") > 1)
    kubernetes.run(NAME)
    await keeper.wait_until_running(pod, timeout_seconds=GENEROUS_SECONDS)


async def test_a_watch_that_is_refused_backs_off(
    kubernetes: FakeKubernetes, keeper: PodKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """A watch that is refused for ever (401) waits longer each time."""
    with caplog.at_level(logging.WARNING, pod_watch.__name__):
        breaks(kubernetes, "WATCH", status=401)
        kubernetes.end_watches()
        await until(lambda: len(caplog.records) >= 4)
    pauses = [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08]


async def test_a_delete_that_fails_is_tried_again(
    kubernetes: FakeKubernetes, keeper: PodKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """A pod that could not be deleted is deleted as soon as that works; the failure is no error, and is said once."""
    await keeper.create(REQUEST)
    with caplog.at_level(logging.WARNING, pod_removal.__name__):
        breaks(kubernetes, "DELETE", status=403, times=3)
        await keeper.delete(NAME)
        assert NAME in kubernetes.pods
        await until(lambda: not kubernetes.pods)
    assert len(caplog.records) == 1


async def test_a_delete_that_is_cancelled_is_done_all_the_same(kubernetes: FakeKubernetes, keeper: PodKeeper) -> None:
    """When nobody waits for a delete any more, the background does it."""
    await keeper.create(REQUEST)
    breaks(kubernetes, "DELETE", status=503, times=1)
    deleting = asyncio.create_task(keeper.delete(NAME))
    await until(lambda: f"DELETE {PODS}/{NAME}" in kubernetes.requests)
    deleting.cancel()
    with suppress(asyncio.CancelledError):
        await deleting
    await until(lambda: not kubernetes.pods)


async def test_a_create_that_is_cancelled_on_its_way_leaves_no_pod(
    kubernetes: FakeKubernetes, keeper: PodKeeper
) -> None:
    """A pod that appears after its create was cancelled, and after it was deleted in vain, is deleted for all that."""
    go = asyncio.Event()

    async def slow(word: str) -> None:
        if word.startswith("POST"):
            await go.wait()

    kubernetes.interfere = slow
    creating = asyncio.create_task(keeper.create(REQUEST))
    await until(lambda: f"POST {PODS}" in kubernetes.requests)
    creating.cancel()
    with suppress(asyncio.CancelledError):
        await creating
    await keeper.delete(NAME)
    go.set()
    await until(lambda: kubernetes.deleted == [NAME])


async def test_what_could_not_be_deleted_is_said_at_the_end(
    kubernetes: FakeKubernetes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A keeper that closes with pods left names them."""
    breaks(kubernetes, "DELETE", status=403)
    async with serve(kubernetes, tmp_path) as access, PodKeeper.open(access, worker="w") as pods:
        await pods.create(REQUEST)
        await pods.delete(NAME)
    assert NAME in caplog.records[-1].getMessage()
    assert "deadline" in caplog.records[-1].getMessage()
