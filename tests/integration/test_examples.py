"""Every example task, run by Harbor itself: a pod a trial, without queue or workers."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from harbor.models.task.task import Task
from harbor.models.trial.result import TrialResult

from harbor_aws.producer.examples import expected_rewards, tasks_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.integration.conftest import RunningStack

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

ARTIFACTS = {
    "agent-timeout": {"artifacts/tmp/progress/first": ""},
    "odd-file-names": {
        "artifacts/srv/odd/line\nfeed": "line\nfeed",
        "artifacts/srv/rough/kept.txt": "kept\n",
        "artifacts/renamed/one file (copy).txt": "one\n",
    },
    "ordinary-user": {"artifacts/tmp/whoami.txt": "nobody\n", "artifacts/logs/artifacts/whoami.txt": "nobody\n"},
    "separate-verifier": {"artifacts/app/answer.txt": "5050\n"},
    "several-rewards": {"artifacts/srv/answers/5": "ask again tomorrow\n"},
    "two-steps": {
        "steps/draft/artifacts/srv/report.txt": "monday 7\ntuesday 30\nwednesday 5\n",
        "steps/review/artifacts/review.txt": "tuesday\n",
    },
    "wrong-answer": {"artifacts/tmp/number.txt": "4\n"},
}
"""By task: files below the trial's directory, and what is in them."""


@pytest.fixture(scope="module")
def trials(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """By task: the directory of its one trial, after ``harbor run`` of all that the stack has images for."""
    jobs = tmp_path_factory.mktemp("jobs")
    include = [argument for task in sorted(expected_rewards()) if has_image(task, stack) for argument in ("-i", task)]
    stack.run(
        "run", "-p", str(tasks_directory()), *include, "-a", "oracle",
        "-e", "harbor_aws.worker.environment:FargateEnvironment",
        "-o", str(jobs), "--job-name", "direct", "-n", "4", "-y",
        program="harbor", timeout=280,
    )  # fmt: skip
    results = sorted((jobs / "direct").glob("*/result.json"))
    return {json.loads(path.read_text())["task_name"]: path.parent for path in results}


def has_image(task: str, stack: RunningStack) -> bool:
    """Whether the task's image is named, or the stack's own cluster builds it."""
    return stack.has_built_images or bool(Task(tasks_directory() / task).config.environment.docker_image)


@pytest.fixture
def trial(task: str, stack: RunningStack, trials: Mapping[str, Path]) -> Path:
    if not has_image(task, stack):
        pytest.skip("nobody builds its Dockerfile here")
    return trials[task]


@pytest.mark.parametrize("task", sorted(expected_rewards()))
def test_the_example_ends_as_expected(task: str, trial: Path) -> None:
    """All its rewards, and the name of its exception, are those of ``expected.json``."""
    result = TrialResult.model_validate_json((trial / "result.json").read_text())
    found = {
        "rewards": result.verifier_result and result.verifier_result.rewards,
        "exception": result.exception_info and result.exception_info.exception_type,
    }
    assert found == expected_rewards()[task], result.exception_info


@pytest.mark.parametrize("task", sorted(ARTIFACTS))
def test_its_artifacts_are_collected(task: str, trial: Path) -> None:
    """The trial's directory holds what the agent left, under the names that Harbor gives it."""
    for path, content in ARTIFACTS[task].items():
        assert (trial / path).read_text() == content


@pytest.mark.parametrize("task", ["large-file"])
def test_a_large_artifact_arrives_whole(task: str, trial: Path) -> None:
    """64 MiB out of a pod have the digest that they had in it."""
    published = trial / "artifacts" / "logs" / "artifacts"
    with (published / "large.bin").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() in (published / "large.bin.sha256").read_text()
