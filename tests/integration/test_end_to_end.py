"""The whole way: enqueue, SQS, Celery workers, pods, exec and tar, S3, status, fetch, Harbor's own commands."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harbor_aws.producer.examples import expected_rewards, tasks_directory

if TYPE_CHECKING:
    from tests.integration.conftest import RunningStack

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]


def outcomes(job_directory: Path) -> dict[str, list[tuple[Any, Any]]]:
    """By task: the (rewards, exception type) of each fetched trial."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for path in sorted(job_directory.glob("*/result.json")):
        result = json.loads(path.read_text())
        rewards = (result["verifier_result"] or {}).get("rewards")
        exception = (result["exception_info"] or {}).get("exception_type")
        found.setdefault(result["task_name"].rpartition("/")[2], []).append((rewards, exception))
    return found


def expected() -> dict[str, tuple[Any, Any]]:
    return {task: (entry["rewards"], entry["exception"]) for task, entry in expected_rewards().items()}


@pytest.fixture(scope="module")
def fetched_job(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The example dataset with the oracle, enqueued, waited for and fetched."""
    job = f"examples-{uuid.uuid4().hex[:6]}"
    directory = tmp_path_factory.mktemp("jobs")
    stack.run(
        "enqueue", str(tasks_directory()), "-a", "oracle", "--job-name", job, "-o", str(directory), "--wait", timeout=240
    )
    return job, directory / job


def test_every_example_gets_its_expected_reward(fetched_job: tuple[str, Path]) -> None:
    """Every kind of task, a zero reward and a time-out included, ends as the dataset says."""
    assert outcomes(fetched_job[1]) == {task: [outcome] for task, outcome in expected().items()}


def test_status_adds_up(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """After the job every trial is committed and nothing is in the queue or dead."""
    status = stack.json("status", fetched_job[0])
    assert status["phases"]["committed"] == status["trials"] == len(expected())
    assert sum(status["phases"].values()) == status["trials"]


def test_no_pod_is_left(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Trials delete their pods."""
    pods = stack.kubectl("get", "pods", "-n", "harbor-aws", "-l", "app.kubernetes.io/managed-by=harbor-aws", "-o", "name")
    assert pods.split() == []


def test_harbor_resumes_a_fetched_job(stack: RunningStack, fetched_job: tuple[str, Path], tmp_path: Path) -> None:
    """`harbor job resume` accepts the directory and finds that one removed trial is all that is missing."""
    ...


def test_a_second_fetch_moves_nothing(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Fetching again downloads no trial."""
    job, directory = fetched_job
    again = stack.json("fetch", job, "-o", str(directory.parent))
    assert again["fetched"] == 0


def test_harbor_run_uses_the_environment_directly(stack: RunningStack, tmp_path: Path) -> None:
    """`harbor run -e harbor_aws.worker.environment:FargateEnvironment` passes without queue or workers."""
    stack.run(
        "run", "-p", str(tasks_directory()), "-a", "oracle", "-e", "harbor_aws.worker.environment:FargateEnvironment",
        "-o", str(tmp_path), "--job-name", "direct", "-n", "4", "-y",
        program="harbor", timeout=280,
    )  # fmt: skip
    assert outcomes(tmp_path / "direct") == {task: [outcome] for task, outcome in expected().items()}


def test_two_hundred_trials_are_each_committed_once(stack: RunningStack, tmp_path: Path) -> None:
    """8 tasks × 25 attempts on 2 workers of 16 slots: all committed, none twice, rewards as expected, no pod left."""
    tasks = sorted(expected())[:8]
    job = f"many-{uuid.uuid4().hex[:6]}"
    include = [argument for task in tasks for argument in ("-i", task)]
    stack.run(
        "enqueue", str(tasks_directory()), *include, "-k", "25", "-a", "oracle", "--job-name", job,
        "-o", str(tmp_path), "--wait", timeout=290,
    )  # fmt: skip
    found = outcomes(tmp_path / job)
    assert {task: Counter(map(repr, rows)) for task, rows in found.items()} == {
        task: Counter({repr(expected()[task]): 25}) for task in tasks
    }
