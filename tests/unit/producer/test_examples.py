"""The example dataset as Harbor's own models and validation see it."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from harbor.cli.config_validation import validate_local_sources
from harbor.environments.definition import COMPOSE_FILE_NAME, DOCKERFILE_NAME, should_upload_environment_dir
from harbor.models.job.config import DatasetConfig, JobConfig
from harbor.models.task.config import NetworkMode, NetworkPolicy
from harbor.models.task.task import Task
from harbor.models.task.verifier_mode import resolve_verifier_environment_definition, task_has_any_separate_verifier
from harbor.utils.env import get_required_host_vars

from harbor_aws.producer.examples import expected_rewards, tasks_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harbor.models.task.config import EnvironmentConfig, StepConfig

NAMES = sorted(path.name for path in tasks_directory().iterdir())
IMAGE = "debian:bookworm"


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return Task(tasks_directory() / request.param)


def environments(task: Task) -> Iterator[EnvironmentConfig]:
    """The task's environment, and those of separate verifiers."""
    yield task.config.environment
    steps: Sequence[StepConfig | None] = task.config.steps or (None,)
    for step in steps:
        if definition := resolve_verifier_environment_definition(task.config, task.paths, step):
            yield definition.config


def scripts(task: Task) -> Iterator[Path]:
    """What the oracle and the verifier run."""
    os_name = task.config.environment.os
    if not task.config.steps:
        yield from filter(None, [task.paths.discovered_solve_path, task.paths.discovered_test_path_for(os_name)])
    for step in task.config.steps or []:
        yield from filter(
            None,
            [
                task.paths.discovered_step_solve_path_for(step.name, os_name),
                task.paths.discovered_step_test_path_for(step.name, os_name),
            ],
        )


def test_every_task_has_an_expected_result() -> None:
    """There are at least eight tasks, and expected.json names exactly them."""
    assert sorted(expected_rewards()) == NAMES
    assert len(NAMES) >= 8


def test_expected_results_have_what_a_result_has() -> None:
    """Every expectation has a numeric reward and an exception or none."""
    for expected in expected_rewards().values():
        assert set(expected) == {"rewards", "exception"}
        assert "reward" in expected["rewards"]
        assert all(isinstance(value, int | float) for value in expected["rewards"].values())


async def test_harbors_dry_run_accepts_the_dataset() -> None:
    """``harbor run --dry-run -p`` finds every task, and nothing to say against one."""
    report = await validate_local_sources(JobConfig(datasets=[DatasetConfig(path=tasks_directory())]))
    assert (report.n_trials, report.errors, report.warnings) == (len(NAMES), [], [])


def test_harbor_accepts_the_task(task: Task) -> None:
    """It is valid to Harbor, and its name, by which results are looked up, is its directory's."""
    assert Task.is_valid_dir(task.task_dir)
    assert task.name == task.task_dir.name


def test_every_setting_is_one_of_harbors(task: Task) -> None:
    """No key of task.toml is misspelt: Harbor would pass over it in silence."""
    assert_known(tomllib.loads(task.paths.config_path.read_text()), task.config.model_dump(mode="json"), "task.toml")


def assert_known(written: Any, understood: Any, where: str) -> None:
    if isinstance(written, dict) and where != "task.toml.metadata":
        for key, value in written.items():
            assert key in understood, f"{where}: {key}"
            assert_known(value, understood[key], f"{where}.{key}")
    elif isinstance(written, list):
        for one, other in zip(written, understood, strict=True):
            assert_known(one, other, where)


def test_scripts_are_there_and_executable(task: Task) -> None:
    """A solution and a verifier for the task, or for each of its steps, which name their interpreter."""
    found = list(scripts(task))
    assert len(found) == 2 * max(1, len(task.config.steps or []))
    for script in found:
        assert os.access(script, os.X_OK), script
        assert script.read_text().startswith(("#!/bin/bash\n", "#!/bin/sh\n")), script


def test_it_is_one_small_container_of_debian(task: Task) -> None:
    """No docker compose, no image but Debian's, one CPU, a gigabyte at most, no device, no storage of its own."""
    assert not list(task.task_dir.rglob(COMPOSE_FILE_NAME))
    for environment in environments(task):
        assert environment.docker_image in {None, IMAGE}
        assert (environment.cpus, environment.storage_mb) == (1, None)
        assert environment.memory_mb is not None
        assert environment.memory_mb <= 1024
        assert not environment.gpus
        assert environment.tpu is None
    for dockerfile in task.task_dir.rglob(DOCKERFILE_NAME):
        bases = [line.split()[1] for line in dockerfile.read_text().splitlines() if line.startswith("FROM ")]
        assert set(bases) <= {IMAGE, "${BASE}"}


def test_the_network_is_the_default_one(task: Task) -> None:
    """Nothing asks for a network policy, which this backend would have to refuse."""
    assert all(environment.resolve_baseline() == NetworkPolicy() for environment in environments(task))
    phases = [task.config.agent, task.config.verifier]
    phases += [phase for step in task.config.steps or [] for phase in (step.agent, step.verifier)]
    assert {phase.network_mode for phase in phases} == {None}
    assert NetworkPolicy().network_mode is NetworkMode.PUBLIC


def test_nothing_is_needed_of_the_host(task: Task) -> None:
    """Every ``${VAR}`` has a default."""
    env = task.config.environment.env | task.config.verifier.env | task.config.solution.env
    assert None not in [default for _, default in get_required_host_vars(env)]


def test_a_wheel_can_hold_it(task: Task) -> None:
    """No symbolic link, no empty directory, no large file: git and wheels would not keep them."""
    for path in task.task_dir.rglob("*"):
        assert not path.is_symlink(), path
        assert not path.is_dir() or any(path.iterdir()), path
        assert path.stat().st_size < 64 * 1024, path


def test_the_dataset_is_varied() -> None:
    """What real benchmarks ask of an environment is there, each at least once."""
    tasks = [Task(tasks_directory() / name) for name in NAMES]
    configs = [task.config for task in tasks]
    expected = expected_rewards().values()
    assert any(config.steps for config in configs)
    assert any(not config.environment.docker_image for config in configs)
    assert any(
        should_upload_environment_dir(task.paths.environment_dir, docker_image=task.config.environment.docker_image)
        for task in tasks
    )
    assert any(config.artifacts for config in configs)
    assert any(config.agent.user for config in configs)
    assert any(config.environment.env for config in configs)
    assert any(config.environment.healthcheck for config in configs)
    assert any(config.environment.workdir for config in configs)
    assert any(task_has_any_separate_verifier(config) for config in configs)
    assert any(one["exception"] == "AgentTimeoutError" for one in expected)
    assert any(one["rewards"]["reward"] == 0 for one in expected)
    assert any(0 < one["rewards"]["reward"] < 1 for one in expected)
    assert any(len(one["rewards"]) > 1 for one in expected)
