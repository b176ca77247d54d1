"""What a pod's object says that it is billed at, and what a trial had consumed before."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.worker.fake_kubernetes import FakeKubernetes, exit_status, serve

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.labels import PREFIX
from harbor_aws.producer.message import AttemptRecord, TrialMessage
from harbor_aws.producer.state import Phase, TrialState
from harbor_aws.producer.usage import Consumption, PodUsage
from harbor_aws.worker.peak_use import PeakUse
from harbor_aws.worker.pod_spec import PodOwner, PodRequest, pod_manifest
from harbor_aws.worker.pod_usage import UsedPods, consumed_before, pod_usage, predecessor
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
CONSUMED = Consumption(pods=1, vcpu_hours=2, memory_gb_hours=3)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def request(*, session: str = "t__env", attempt_id: str = "01-a") -> PodRequest:
    owner = PodOwner(job="j", trial="t", attempt_id=attempt_id, worker="w", session=session)
    return PodRequest(owner=owner, image="i", size=FargateSize(1000, 3072, 30), deadline_seconds=60)


def seen(
    *,
    attempt_id: str = "01-a",
    session: str = "t__env",
    capacity: str | None = "2vCPU 4GB",
    state: dict[str, Any] | None = None,
    is_scheduled: bool = True,
) -> dict[str, Any]:
    """A pod as the cluster tells of it."""
    pod = pod_manifest(request(session=session, attempt_id=attempt_id))
    pod["metadata"]["creationTimestamp"] = "2026-11-23T02:00:00Z"
    if capacity is not None:
        pod["metadata"]["annotations"]["CapacityProvisioned"] = capacity
    scheduled = (
        {"status": "True", "lastTransitionTime": "2026-11-23T02:00:40Z"} if is_scheduled else {"status": "False"}
    )
    pod["status"] = {
        "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", **scheduled}],
        "containerStatuses": [{"state": state or {"running": {"startedAt": "2026-11-23T02:01:10Z"}}}],
    }
    return pod


def test_a_pod_of_fargate() -> None:
    """It is billed at what Fargate provisioned, whatever was asked for; its times are the cluster's, its end ours."""
    usage = pod_usage(seen(), made_at=at(99), gone_at=at(600), peak=PeakUse(memory_mib=5, cpu_seconds=1.5))
    assert usage == PodUsage(
        name=request().owner.pod_name,
        role="agent",
        cpu_millis=2000,
        memory_mib=4096,
        storage_gib=30,
        memory_limit_mib=3072 - 256,
        is_provisioned=True,
        created_at=START,
        scheduled_at=at(40),
        running_at=at(70),
        ended_at=at(600),
        peak_memory_mib=5,
        cpu_seconds=1.5,
    )


def test_the_memory_that_a_container_may_use() -> None:
    """What the task itself asks for, which may be less than its size leaves; an older version's pod does not say."""
    pod = pod_manifest(replace(request(), memory_mib=2000))
    usage = pod_usage(pod, made_at=START, gone_at=None)
    assert usage is not None
    assert (usage.memory_limit_mib, usage.container_memory_mib) == (2000, 2000)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2000Mi"
    del pod["metadata"]["annotations"][f"{PREFIX}memory-mib"]
    older = pod_usage(pod, made_at=START, gone_at=None)
    assert older is not None
    assert (older.memory_limit_mib, older.container_memory_mib) == (None, 3072 - 256)


@pytest.mark.parametrize("capacity", [None, "", "lots", "1vCPU"])
def test_a_pod_of_which_fargate_says_nothing(capacity: str | None) -> None:
    """Without the annotation, or with one that makes no sense, the size is the one that was asked for."""
    usage = pod_usage(seen(capacity=capacity), made_at=START, gone_at=None)
    assert usage is not None
    assert (usage.size, usage.is_provisioned) == (FargateSize(1000, 3072, 30), False)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (seen(session="t__verifier__env"), {"role": "verifier"}),
        (seen(is_scheduled=False, state={"waiting": {}}), {"scheduled_at": None, "running_at": None}),
        (seen(state={"terminated": {"startedAt": "2026-11-23T02:01:10Z"}}), {"running_at": at(70)}),
        (seen(state={"terminated": {"startedAt": "1970-01-01T00:00:00Z"}}), {"running_at": None}),
        (seen(state={"terminated": {"startedAt": None}}), {"running_at": None}),
    ],
)
def test_what_else_the_object_says(pod: dict[str, Any], expected: dict[str, Any]) -> None:
    """Its role, whether it ever had a node, and whether it ever ran."""
    usage = pod_usage(pod, made_at=START, gone_at=None)
    assert usage is not None
    assert usage.model_dump(include=set(expected)) == expected


@pytest.mark.parametrize("annotations", [None, {}, {"harbor-aws/size": "1 2 3"}])
def test_a_pod_that_is_no_trials(annotations: dict[str, str] | None) -> None:
    """A pod that an older version made tells no size, and is left out."""
    pod = {"metadata": {"name": "x", "annotations": annotations}}
    assert pod_usage(pod, made_at=START, gone_at=None) is None


def message(attempt: int = 2, *, replay: int = 0, consumed: Consumption | None = CONSUMED) -> TrialMessage:
    history = (AttemptRecord(attempt=1, cause="ExecError", consumed=consumed),)
    return TrialMessage(
        job="j", trial="t", attempt=attempt, replay=replay, bundle="0" * 64, trial_config={}, history=history
    )


def said(phase: Phase, attempt: int = 2, *, consumed: Consumption | None = CONSUMED, hours: float = 0) -> TrialState:
    """What a worker said, so many hours ago, of an attempt with a pod that had run for two of them."""
    since = datetime.now(UTC) - timedelta(hours=hours)
    pod = pod_usage(seen(), made_at=START, gone_at=None)
    assert pod is not None
    times = {"scheduled_at": since - timedelta(hours=2), "running_at": None}
    return TrialState(
        trial="t",
        phase=phase,
        attempt=attempt,
        attempt_id="02-b",
        worker="w",
        since=since,
        pods=[pod.model_copy(update=times)],
        consumed=consumed,
    )


@pytest.mark.parametrize(
    ("last", "vcpu_hours"),
    [
        pytest.param(lambda: None, 2.0, id="by the message alone"),
        pytest.param(lambda: said(Phase.RETRYING, attempt=1), 2.0, id="what the attempt before said is in the message"),
        pytest.param(lambda: said(Phase.HANDED_BACK, hours=3), 2 + 2 * 2.0, id="handed back: its pod ended then"),
        pytest.param(lambda: said(Phase.AGENT, hours=3), 2 + 2 * 5.0, id="killed: its pod was there until now"),
        pytest.param(lambda: said(Phase.AGENT, consumed=None), 2.0, id="an older version said it"),
    ],
)
def test_what_was_consumed_before(last: Callable[[], TrialState | None], vcpu_hours: float) -> None:
    """A message that comes again takes along what the worker that had it consumed, each pod once."""
    before = consumed_before(message(), predecessor(message(), last()))
    assert before.vcpu_hours == pytest.approx(vcpu_hours, abs=0.1)


def test_pods_that_a_killed_worker_did_not_tell_of() -> None:
    """One that it made after its last word is counted when it is deleted; one that it told of, or an older, is not."""
    left = [
        seen(attempt_id="02-b", session="t__env"),
        seen(attempt_id="02-b", session="t__verifier__env"),
        seen(attempt_id="01-a", session="t__verifier__env"),
        {"metadata": {"name": "x", "annotations": {"harbor-aws/attempt": "02-b"}}},
    ]
    last = said(Phase.STARTING)
    named = last.pods[0].model_copy(update={"name": left[0]["metadata"]["name"]})
    before = consumed_before(message(), last.model_copy(update={"pods": [named]}), left=left)
    assert before.pods == CONSUMED.pods + 2


async def test_the_annotation_comes_later(tmp_path: Path) -> None:
    """Fargate annotates a pod that is there already: the keeper's watch sees it, and the size is the billed one."""
    kubernetes = FakeKubernetes()

    async def says(socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await socket.send_bytes(b"\x01memory_peak=1048576\nmemory_limit=2097152\n")
        await socket.send_bytes(exit_status(0))

    kubernetes.exec = says
    used = UsedPods()
    async with serve(kubernetes, tmp_path) as access, PodKeeper.open(access, worker="w") as keeper:
        async with asyncio.timeout(30):
            while "WATCH" not in kubernetes.requests:
                await asyncio.sleep(0.01)
        pod = await keeper.create(request())
        used.add(pod)
        assert [usage.is_provisioned for usage in used.usages] == [False]
        await used.ask(pod, keeper.cluster)
        assert not [word for word in kubernetes.requests if word.endswith("/exec")], "it does not run yet"
        kubernetes.pods[pod.name]["metadata"]["annotations"]["CapacityProvisioned"] = "4vCPU 8GB"
        kubernetes.run(pod.name)
        async with asyncio.timeout(30):
            while not used.usages[0].is_provisioned:
                await pod.change()
        await used.ask(pod, keeper.cluster)
        (usage,) = used.usages
        assert (usage.cpu_millis, usage.memory_mib, usage.peak_memory_mib, usage.ended_at) == (4000, 8192, 1, None)
        await keeper.delete(pod.name)
        assert used.usages[0].ended_at is not None
        assert used.usages[0].ended_at >= usage.created_at
