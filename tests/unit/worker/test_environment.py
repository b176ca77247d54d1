"""What Harbor's environment leaves in the attempt when something fails and Harbor looks away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from harbor.models.task.config import EnvironmentConfig
from harbor.models.trial.paths import TrialPaths
from tests.unit.worker.fake_kubernetes import FakeKubernetes, refusal, serve
from tests.unit.worker.fake_shell import FakeShell

from harbor_aws.infra.errors import ExecError, PodFailedError, PodStartError, TransferError
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.dead_letters.pod_end import ContainerState, PodEvent
from harbor_aws.worker import outages
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.environment import FargateEnvironment
from harbor_aws.worker.exec import command
from harbor_aws.worker.exec.stream import StreamCutError
from harbor_aws.worker.launch_rate import Launches, Turn
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp import web

GENEROUS_SECONDS = 30


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


@pytest_asyncio.fixture
async def attempt(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[Attempt]:
    """An attempt as the worker sets it."""
    async with serve(kubernetes, tmp_path) as access, PodKeeper.open(access, worker="w") as pods:
        stack = Stack(name="s", region="r", queue_url="-", dead_letter_queue_url="-", bucket="-", trials=access)
        yield Attempt(
            stack=stack,
            settings=Settings(),
            pods=pods,
            worker="w",
            job="j",
            trial="t",
            number=1,
            attempt_id="01-a",
        )


@pytest.fixture
def environment(attempt: Attempt, tmp_path: Path) -> FargateEnvironment:
    """An environment as Harbor makes it, not started."""
    (tmp_path / "environment").mkdir()
    token = current_attempt.set(attempt)
    try:
        return FargateEnvironment(
            environment_dir=tmp_path / "environment",
            environment_name="task",
            session_id="t__env",
            trial_paths=TrialPaths(trial_dir=tmp_path / "trial"),
            task_env_config=EnvironmentConfig(docker_image="debian:bookworm"),
        )
    finally:
        current_attempt.reset(token)


@pytest_asyncio.fixture
async def started(
    environment: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> AsyncIterator[FargateEnvironment]:
    """An environment that runs."""
    kubernetes.exec = FakeShell()
    starting = asyncio.create_task(environment.start(force_build=False))
    await until(lambda: bool(kubernetes.pods))
    kubernetes.run(attempt.pod_names[0])
    await starting
    yield environment
    await environment.stop(delete=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GENEROUS_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_start_that_is_cancelled_says_what_held_the_pod_up(
    environment: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """Harbor's own time-out for a start does not hide the scheduler's reason."""
    starting = asyncio.create_task(environment.start(force_build=False))
    await until(lambda: bool(kubernetes.pods))
    name = attempt.pod_names[0]
    message = "0/9 nodes are available"
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    kubernetes.change(name, phase="Pending", conditions=[condition])
    await until(lambda: "conditions" in _known(environment))
    await cancelled(starting)
    (failure,) = attempt.failures
    assert isinstance(failure, PodStartError)
    assert (failure.pod, failure.reason) == (name, "Unschedulable")
    assert message in str(failure)


async def test_nothing_is_asked_of_a_pod_that_never_ran(
    environment: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, tmp_path: Path
) -> None:
    """Harbor wants the logs of an environment that did not start: it hears at once why there are none."""
    starting = asyncio.create_task(environment.start(force_build=False))
    await until(lambda: bool(kubernetes.pods))
    await cancelled(starting)
    with pytest.raises(PodStartError) as told:
        await environment.download_dir("/logs/agent", tmp_path)
    assert attempt.failures == [told.value]
    assert "EXEC" not in environment._running_attempt.pods.cluster.requests


async def test_a_command_that_is_cancelled_and_ended_is_no_failure(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """An agent that ran out of time and was ended leaves nothing but that."""
    shell = kubernetes.exec = FakeShell()
    running = asyncio.create_task(started.exec("hang"))
    await shell.hangs.wait()
    await cancelled(running)
    assert attempt.failures == []


async def test_a_command_that_may_still_run_is_a_failure(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """An agent that ran out of time and may work on beside the verifier spoils the attempt."""
    shell = kubernetes.exec = FakeShell(kill_code=1)
    running = asyncio.create_task(started.exec("hang"))
    await shell.hangs.wait()
    await cancelled(running)
    (failure,) = attempt.failures
    assert isinstance(failure, ExecError)
    assert "may still run" in str(failure)


async def test_a_time_out_that_ends_nothing_is_a_failure(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that ran out of time and may go on is no 124, but a failure that is recorded once."""
    monkeypatch.setattr("harbor_aws.worker.environment._EXPLANATION_SECONDS", 0.1)
    monkeypatch.setattr(command, "OVERDUE_SECONDS", 0)
    kubernetes.exec = FakeShell(kill_code=1)
    with pytest.raises(ExecError, match="could not be ended") as caught:
        await started.exec("hang", timeout_sec=1)
    assert attempt.failures == [caught.value]


async def test_a_cut_stream_is_a_failure_even_if_nobody_waits_for_its_reason(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out of Harbor's that falls into the search for the reason does not hide that the command failed."""
    monkeypatch.setattr(command, "FOLLOW_SECONDS", 0)
    shell = kubernetes.exec = FakeShell(cuts=True)
    running = asyncio.create_task(started.exec("hang"))
    await shell.hangs.wait()
    await until(lambda: _explains(running))
    await cancelled(running)
    assert [type(failure) for failure in attempt.failures] == [StreamCutError]


async def test_a_pod_that_ended_is_a_failure_even_if_nobody_waits_for_its_events(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """Nor does one that falls into the search for the pod's last events."""
    shell = kubernetes.exec = FakeShell()
    asked = asyncio.Event()

    async def slow(word: str) -> None:
        if word.endswith("/events"):
            asked.set()
            await asyncio.sleep(0.5)

    kubernetes.interfere = slow
    running = asyncio.create_task(started.exec("hang"))
    await shell.hangs.wait()
    state = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    kubernetes.change(attempt.pod_names[0], phase="Failed", containerStatuses=[{"name": "main", "state": state}])
    await asked.wait()
    await cancelled(running)
    (failure,) = attempt.failures
    assert isinstance(failure, PodFailedError)
    assert failure.reason == "OOMKilled"


async def test_a_pod_is_looked_at_before_it_goes(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """What became of its container and its last events are kept for the dead letter."""
    kubernetes.events = [{"reason": "Evicting", "message": "node is full", "count": 2}]
    state = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    running = asyncio.create_task(started.exec("hang"))
    kubernetes.change(attempt.pod_names[0], phase="Failed", containerStatuses=[{"name": "main", "state": state}])
    with pytest.raises(PodFailedError, match="Evicting: node is full"):
        await running
    await started.stop(delete=True)
    (end,) = attempt.pod_ends
    assert (end.name, end.reason, end.message) == (attempt.pod_names[0], "OOMKilled", "exit code 137")
    assert end.container == ContainerState(state="terminated", reason="OOMKilled", exit_code=137)
    assert end.events == (PodEvent(reason="Evicting", message="node is full", count=2),)
    assert kubernetes.deleted == attempt.pod_names


async def test_a_failure_beside_the_pod_is_told_with_the_pod(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """A cut stream, say: the letter tells that the pod was well."""
    kubernetes.events = [{"reason": "Started", "message": "container main"}]
    attempt.failures.append(ExecError("cut"))
    await started.stop(delete=True)
    (end,) = attempt.pod_ends
    assert (end.reason, end.container, len(end.events)) == ("Running", ContainerState(state="running"), 1)


async def test_a_pod_that_served_well_costs_no_look(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """Nobody asks for its events."""
    await started.stop(delete=True)
    assert attempt.pod_ends == []
    assert not [word for word in kubernetes.requests if word.endswith("/events")]


def asked_for_use(kubernetes: FakeKubernetes) -> int:
    """How often the pod was asked for what it used: the one command that is no command of somebody's."""
    shell = kubernetes.exec
    assert isinstance(shell, FakeShell)
    return sum("cgroup" in argument for argv in shell.argvs for argument in argv)


async def test_a_pod_that_served_well_is_asked_what_it_used(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """Once, before it goes; its size and times are with the attempt."""
    await started.stop(delete=True)
    assert asked_for_use(kubernetes) == 1
    (usage,) = attempt.used.usages
    assert (usage.name, usage.cpu_millis, usage.memory_mib) == (attempt.pod_names[0], 1000, 3072)
    assert usage.ended_at is not None


@pytest.mark.parametrize("why", ["failed", "cancelled", "over"])
async def test_a_pod_that_did_not_serve_well_is_not_kept_waiting(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, why: str
) -> None:
    """Nobody asks what a pod used once something failed, the trial is being ended, or the pod is over."""
    if why == "failed":
        attempt.failures.append(ExecError("cut"))
    if why == "cancelled":
        await attempt.note_cancelled(None)
    if why == "over":
        kubernetes.change(attempt.pod_names[0], phase="Failed", containerStatuses=[{"name": "main", "state": {}}])
        await until(lambda: started._pod is not None and started._pod.is_over)
    await started.stop(delete=True)
    assert asked_for_use(kubernetes) == 0
    assert [usage.ended_at is None for usage in attempt.used.usages] == [False]


async def test_a_pod_goes_although_its_events_do_not_come(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They only explain."""
    monkeypatch.setattr("harbor_aws.worker.pods._EVENTS_SECONDS", 0.1)

    async def silent(word: str) -> None:
        if word.endswith("/events"):
            await asyncio.sleep(GENEROUS_SECONDS)

    kubernetes.interfere = silent
    attempt.failures.append(ExecError("cut"))
    await started.stop(delete=True)
    assert (kubernetes.deleted, attempt.pod_ends[0].events) == (attempt.pod_names, ())


async def test_the_workers_own_disk_is_infrastructure(
    started: FargateEnvironment, attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs that this machine cannot write are a failure of the infrastructure, not an agent without logs."""
    monkeypatch.setattr("harbor_aws.worker.environment._EXPLANATION_SECONDS", 0.1)
    (tmp_path / "file").touch()
    with pytest.raises(TransferError, match="own files") as caught:
        await started.download_dir("/logs/agent", tmp_path / "file" / "logs")
    assert attempt.failures == [caught.value]


def lost_seconds(attempt: Attempt) -> float:
    span = attempt.span()
    return attempt.outages.seconds_within(span.began, span.ended)


@pytest.mark.parametrize("transfer", ["upload_file", "upload_dir", "download_file", "download_dir"])
async def test_a_transfer_that_is_cancelled_while_the_server_is_away(
    started: FargateEnvironment,
    attempt: Attempt,
    kubernetes: FakeKubernetes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transfer: str,
) -> None:
    """A verifier whose time ran out before its tests were in the pod, or its rewards here, did not have its time."""
    monkeypatch.setattr(outages, "ORDINARY_SECONDS", 0.0)
    (tmp_path / "file").touch()
    source = {"upload_file": tmp_path / "file", "upload_dir": tmp_path}.get(transfer, "/logs")
    asked = asyncio.Event()

    async def away(word: str) -> web.Response | None:
        if not word.endswith("/exec"):
            return None
        asked.set()
        return refusal(503)

    well, kubernetes.interfere = kubernetes.interfere, away
    before = lost_seconds(attempt)
    running = asyncio.create_task(getattr(started, transfer)(str(source), str(tmp_path / "target")))
    await asked.wait()
    await asyncio.sleep(0.2)
    await cancelled(running)
    kubernetes.interfere = well
    assert attempt.failures == []
    assert lost_seconds(attempt) - before >= 0.2


async def test_outages_of_one_command_add_up(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is heard of late, is cut, and is late again has lost both."""
    monkeypatch.setattr(outages, "ORDINARY_SECONDS", 0.0)
    kubernetes.exec = FakeShell(cuts=True)

    async def late(word: str) -> None:
        if word.endswith("/exec"):
            await asyncio.sleep(0.2)

    kubernetes.interfere = late
    before, requests = lost_seconds(attempt), len(kubernetes.requests)
    assert (await started.exec("hang")).return_code == 0
    assert sum(word.endswith("/exec") for word in kubernetes.requests[requests:]) == 2
    assert lost_seconds(attempt) - before >= 0.4


async def test_a_command_that_says_nothing_is_no_outage(
    started: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it was heard of, an agent that thinks for an hour has lost nothing."""
    monkeypatch.setattr(outages, "ORDINARY_SECONDS", 0.0)
    shell = kubernetes.exec = FakeShell()
    before, began = lost_seconds(attempt), time.monotonic()
    running = asyncio.create_task(started.exec("hang"))
    await shell.hangs.wait()
    await asyncio.sleep(0.5)
    await cancelled(running)
    assert lost_seconds(attempt) - before < time.monotonic() - began - 0.25


def _known(environment: FargateEnvironment) -> dict[str, Any]:
    pod = environment._pod
    return pod.object.get("status", {}) if pod else {}


def _explains(task: asyncio.Task[Any]) -> bool:
    """Whether a task waits for the reason of a failure."""
    frames, waiting = [], task.get_coro()
    while waiting is not None:
        frames.append(getattr(waiting, "__name__", ""))
        waiting = getattr(waiting, "cr_await", None)
    return "explanation" in frames


async def test_no_pod_without_a_turn(
    environment: FargateEnvironment, attempt: Attempt, kubernetes: FakeKubernetes
) -> None:
    """The trial's first pod takes the turn that was reserved for it; another waits for its own."""
    kubernetes.exec = FakeShell()
    attempt.pods.launches = Launches(per_second=1 / 3600, burst=1)
    async with attempt.pods.launches.reserved() as turn:
        attempt.turn = Turn(is_spent=True)
        starting = asyncio.create_task(environment.start(force_build=False))
        await asyncio.sleep(0.3)
        assert (kubernetes.pods, attempt.pod_names) == ({}, [])
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        attempt.turn = turn
        starting = asyncio.create_task(environment.start(force_build=False))
        await until(lambda: bool(kubernetes.pods))
        assert turn.is_spent
    kubernetes.run(attempt.pod_names[0])
    await starting
    await environment.stop(delete=True)
