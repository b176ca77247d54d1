"""Harbor's environment in real pods."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from harbor.models.task.config import EnvironmentConfig
from harbor.models.trial.paths import TrialPaths

from harbor_aws.infra.errors import PermanentError, PodGoneError, PodStartError
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack, stack_file
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.environment import FargateEnvironment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess
    from harbor_aws.worker.pod_spec import PodRequest
    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

IMAGE = "debian:bookworm"
GENEROUS_SECONDS = 90


@pytest.fixture
def attempt(keeper: PodKeeper, access: KubernetesAccess) -> Attempt:
    """An attempt as the worker sets it."""
    stack = Stack(name="test", region="nowhere", queue_url="-", dead_letter_queue_url="-", bucket="-", trials=access)
    trial = f"Trial.{uuid.uuid4().hex[:8]}"
    return Attempt(
        stack=stack,
        settings=Settings(pod_start_timeout_seconds=60),
        pods=keeper,
        worker=keeper.worker,
        job="tests",
        trial=trial,
        number=1,
        attempt_id="01-abc",
    )


def make(tmp_path: Path, attempt: Attempt | None, *, image: str = IMAGE, **options: Any) -> FargateEnvironment:
    """An environment as Harbor makes it, of a prebuilt image."""
    (tmp_path / "environment").mkdir(exist_ok=True)
    trial = attempt.trial if attempt else f"alone-{uuid.uuid4().hex[:8]}"
    config = {"docker_image": image, "cpus": 1, "memory_mb": 256, **options.pop("config", {})}
    token = current_attempt.set(attempt)
    try:
        return FargateEnvironment(
            environment_dir=tmp_path / "environment",
            environment_name="task",
            session_id=f"{trial}__env",
            trial_paths=TrialPaths(trial_dir=tmp_path / "trial"),
            task_env_config=EnvironmentConfig(**config),
            mounts=[{"type": "bind", "source": str(tmp_path), "target": "/logs/agent"}],
            **options,
        )
    finally:
        current_attempt.reset(token)


@pytest_asyncio.fixture(loop_scope="module")
async def started(tmp_path: Path, attempt: Attempt) -> AsyncIterator[FargateEnvironment]:
    """An environment that runs."""
    environment = make(tmp_path, attempt)
    await environment.start(force_build=False)
    yield environment
    await environment.stop(delete=True)


async def test_a_trials_life_costs_few_requests(tmp_path: Path, attempt: Attempt, keeper: PodKeeper) -> None:
    """A pod is created and deleted by one request each, a command is one, a transfer is one; nothing is polled. One
    more asks for what it used."""
    before = keeper.cluster.requests.copy()
    environment = make(tmp_path, attempt)
    await environment.start(force_build=False)  # makes directories by one command
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test.sh").write_text("echo 1 >/logs/agent/reward.txt")
    await environment.upload_dir(tmp_path / "tests", "/tests")
    assert (await environment.exec("bash /tests/test.sh", timeout_sec=60)).return_code == 0
    await environment.download_dir("/logs/agent", tmp_path / "logs")
    await environment.stop(delete=True)
    assert (tmp_path / "logs" / "reward.txt").read_text() == "1\n"
    assert keeper.cluster.requests - before == {"POST": 1, "DELETE": 1, "EXEC": 5}
    assert attempt.failures == []


async def test_the_pod_says_whose_it_is(started: FargateEnvironment, attempt: Attempt, keeper: PodKeeper) -> None:
    """Labels find the trial's pods, annotations hold the full names, and nothing of the cluster's is in the pod."""
    found = await keeper.cluster.list_pods(selector=f"harbor-aws/trial={attempt.trial},harbor-aws/role=agent")
    (pod,) = found["items"]
    assert [pod["metadata"]["name"]] == attempt.pod_names
    assert pod["metadata"]["annotations"]["harbor-aws/attempt"] == "01-abc"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"cpu": "1", "memory": "256Mi"}


async def test_users_variables_and_directories(started: FargateEnvironment) -> None:
    """Root works whatever the default user is; overlays and the task's variables reach the command in their order."""
    with started.with_default_user("nobody"), started.scoped_exec_env({"A": "overlay"}):
        assert (await started.exec("id -un; echo $A", env={"A": "call"}, cwd="/tmp")).stdout == "nobody\noverlay\n"
        assert (await started.exec("id -un", user="root")).stdout == "root\n"
        assert (await started.exec("touch /logs/agent/x")).return_code == 0


async def test_harbors_own_helpers(started: FargateEnvironment, tmp_path: Path) -> None:
    """What Harbor builds on an environment's methods works on this one."""
    assert await started.is_dir("/etc")
    assert not await started.is_file("/etc")
    await started.empty_dirs(["/logs/agent"])
    await started.exec("cd /logs/agent && mkdir s && touch a.log b.txt s/c.log s/keep.log")
    await started.download_dir_filtered(
        source_dir="/logs/agent", target_dir=tmp_path / "f", exclude=["*.log"], protect=["s/keep.log"]
    )
    assert sorted(str(path.relative_to(tmp_path / "f")) for path in (tmp_path / "f").rglob("*.*")) == [
        "b.txt",
        "s/keep.log",
    ]
    await started.download_dir_with_exclusions(source_dir="/logs/agent", target_dir=tmp_path / "e", exclude=["*.log"])
    assert [path.name for path in (tmp_path / "e").rglob("*.*")] == ["b.txt"]


async def test_a_timeout_and_the_callback(started: FargateEnvironment) -> None:
    """A time-out is Harbor's 124, and output reaches Harbor's callback as it comes."""
    seen: list[tuple[str, str]] = []

    async def on_output(text: str, stream: str) -> None:
        seen.append((stream, text))

    with started.scoped_output_callback(on_output):
        result = await started.exec("echo out; echo err >&2; sleep 600", timeout_sec=1)
    assert (result.return_code, result.stdout) == (124, "out\n")
    assert (result.stderr or "").startswith("err\n")  # bash may add that it was terminated
    assert "".join(text for stream, text in seen if stream == "stdout") == "out\n"
    assert "".join(text for stream, text in seen if stream == "stderr").startswith("err\n")


async def test_a_missing_file_is_no_infrastructure_failure(
    started: FargateEnvironment, attempt: Attempt, tmp_path: Path
) -> None:
    """What an agent did not write is missing; the trial is not run again for it."""
    with pytest.raises(FileNotFoundError):
        await started.download_file("/logs/agent/none.txt", tmp_path / "none.txt")
    assert attempt.failures == []


async def test_a_pod_that_is_deleted_is_recorded_once(
    started: FargateEnvironment, attempt: Attempt, keeper: PodKeeper
) -> None:
    """A pod that goes while a command runs is told at once, recorded once, and no trouble for stop."""
    running = asyncio.create_task(started.exec("sleep 600", timeout_sec=600))
    await started.exec("true")
    await keeper.cluster.request("DELETE", f"{keeper.cluster.pods_path}/{attempt.pod_names[0]}")
    async with asyncio.timeout(GENEROUS_SECONDS):
        with pytest.raises(PodGoneError) as caught:
            await running
    assert attempt.failures == [caught.value]
    await started.stop(delete=True)
    await started.stop(delete=True)


async def test_an_image_that_does_not_exist(tmp_path: Path, attempt: Attempt, keeper: PodKeeper) -> None:
    """A pod that cannot start says why, in the words of Kubernetes, and is not left behind."""
    await _skip_without_registries(keeper)
    environment = make(tmp_path, attempt, image="Not A Name")
    with pytest.raises(PodStartError, match=r"[Ii]mage") as caught:
        await environment.start(force_build=False)
    assert caught.value.reason == "InvalidImageName"
    assert attempt.failures == [caught.value]
    await environment.stop(delete=True)


async def test_an_image_that_cannot_be_pulled(keeper: PodKeeper, make_request: Callable[..., PodRequest]) -> None:
    """A pull that goes on failing is final after a while, long before the time for starting is over."""
    await _skip_without_registries(keeper)
    pod = await keeper.create(make_request(keeper, "localhost:9/harbor-aws/none:1"))
    try:
        with pytest.raises(PodStartError) as caught:
            await keeper.wait_until_running(pod, timeout_seconds=60, image_patience_seconds=2)
        assert caught.value.reason in ("ErrImagePull", "ImagePullBackOff")
    finally:
        await keeper.delete(pod.name)


async def test_a_start_that_is_cancelled_leaves_no_pod(tmp_path: Path, attempt: Attempt, keeper: PodKeeper) -> None:
    """When Harbor gives up on a start, stop still removes the pod that was being made."""
    environment = make(tmp_path, attempt)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await environment.start(force_build=False)
    await environment.stop(delete=True)
    async with asyncio.timeout(GENEROUS_SECONDS):
        while (await keeper.cluster.list_pods(selector=f"harbor-aws/trial={attempt.trial}"))["items"]:
            await asyncio.sleep(0.5)


async def test_leftovers_of_earlier_attempts(tmp_path: Path, attempt: Attempt, keeper: PodKeeper) -> None:
    """The next attempt finds what the last one left, by job and trial, and removes it."""
    environment = make(tmp_path, attempt)
    await environment.start(force_build=False)
    await environment.stop(delete=False)
    left = await keeper.delete_leftovers(job=attempt.job, trial=attempt.trial)
    assert [pod["metadata"]["name"] for pod in left] == attempt.pod_names
    async with asyncio.timeout(GENEROUS_SECONDS):
        while (await keeper.cluster.list_pods(selector=f"harbor-aws/trial={attempt.trial}"))["items"]:
            await asyncio.sleep(0.5)


async def test_harbor_alone_can_use_it(
    tmp_path: Path, access: KubernetesAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker two environments share one pod keeper, made from the stack that the settings name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(SystemExit, match="local up"):
        FargateEnvironment.preflight()
    stack = Stack(name="local", region="nowhere", queue_url="-", dead_letter_queue_url="-", bucket="-", trials=access)
    stack_file("local").parent.mkdir(parents=True)
    stack_file("local").write_text(stack.model_dump_json())
    FargateEnvironment.preflight()
    one, two = make(tmp_path, None), make(tmp_path, None)
    await one.start(force_build=False)
    await two.start(force_build=False)
    assert (await one.exec("echo 1")).stdout == "1\n"
    await one.stop(delete=True)
    assert (await two.exec("echo 2")).stdout == "2\n"
    await two.stop(delete=True)


async def test_what_this_backend_cannot_run_is_refused(tmp_path: Path, attempt: Attempt) -> None:
    """Compose, too much of anything, and unknown options are refused before anything starts."""
    with pytest.raises(PermanentError, match="64 CPUs"):
        make(tmp_path, attempt, config={"cpus": 64})
    with pytest.raises(PermanentError, match="colour"):
        make(tmp_path, attempt, colour="red")
    (tmp_path / "environment" / "docker-compose.yaml").touch()
    with pytest.raises(PermanentError, match="docker-compose"):
        make(tmp_path, attempt)


async def _skip_without_registries(keeper: PodKeeper) -> None:
    version = await keeper.cluster.request("GET", "/version")
    if "harbor-aws" in version["gitVersion"]:
        pytest.skip("the embedded cluster pulls no images: every name stands for a root file system")
