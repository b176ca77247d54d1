"""What this backend cannot run is named, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from harbor.models.task.task import Task
from harbor.models.trial.config import EnvironmentConfig
from tests.tiny_tasks import IMAGE_TOML, make_task

from harbor_aws.producer.examples import tasks_directory
from harbor_aws.producer.support import task_environments, unsupported_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def reasons(task: Path, *, verify: bool = True, **options: Any) -> list[str]:
    return unsupported_reasons(
        Task(task, disable_verification=not verify), options=EnvironmentConfig(**options), verify=verify
    )


@pytest.mark.parametrize("task", sorted(tasks_directory().iterdir()), ids=lambda path: path.name)
def test_every_example_can_run(task: Path) -> None:
    """The bundled dataset has nothing that is refused."""
    assert reasons(task) == []


SEPARATE = '[verifier]\nenvironment_mode = "separate"\n'


@pytest.mark.parametrize(
    ("toml", "files", "reason"),
    [
        (IMAGE_TOML, {"environment/docker-compose.yaml": "services: {}"}, "needs docker compose"),
        ("", {}, "neither docker_image nor environment/Dockerfile"),
        (IMAGE_TOML + 'os = "windows"\n', {"tests/test.ps1": ""}, "is Windows"),
        (IMAGE_TOML + "gpus = 1\n", {}, "needs 1 GPU"),
        (IMAGE_TOML + '[environment.tpu]\ntype = "v6e"\ntopology = "2x4"\n', {}, "needs a TPU"),
        (IMAGE_TOML + "cpus = 32\n", {}, "does not fit"),
        (IMAGE_TOML + "memory_mb = 200000\n", {}, "does not fit"),
        (IMAGE_TOML + "storage_mb = 500000\n", {}, "does not fit"),
        (IMAGE_TOML + 'network_mode = "no-network"\n', {}, "[environment] asks for network_mode 'no-network'"),
        (IMAGE_TOML + '[agent]\nnetwork_mode = "allowlist"\nallowed_hosts = ["a.b"]\n', {}, "[agent] asks for"),
        (IMAGE_TOML + '[verifier]\nnetwork_mode = "no-network"\n', {}, "[verifier] asks for"),
        (
            IMAGE_TOML + '[verifier.environment]\ndocker_image = "a"\nnetwork_mode = "no-network"\n',
            {},
            "[verifier.environment] asks for",
        ),
        (IMAGE_TOML + '[verifier.environment]\ndocker_image = "a"\ngpus = 2', {}, "its verifier's environment needs 2"),
        (IMAGE_TOML + SEPARATE, {"tests/docker-compose.yaml": "services: {}"}, "tests/docker-compose.yaml"),
        ('artifacts = [{source = "/x", service = "db"}]\n' + IMAGE_TOML, {}, "docker compose services (db)"),
        (IMAGE_TOML + '[[verifier.collect]]\ncommand = "x"\nservice = "web"\n', {}, "docker compose services (web)"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_named(tmp_path: Path, toml: str, files: Mapping[str, str], reason: str) -> None:
    """One reason for each kind of task that one Linux container of a Fargate size cannot run."""
    found = reasons(make_task(tmp_path, toml=toml, files=files), verify="ps1" not in str(files))
    assert [found_reason for found_reason in found if reason in found_reason], found


@pytest.mark.parametrize(
    ("toml", "options", "fits"),
    [
        ("cpus = 32\n", {"override_cpus": 2}, True),
        ("cpus = 2\n", {"override_cpus": 32}, False),
        ("cpus = 32\n", {"cpu_enforcement_policy": "ignore"}, True),
        ("memory_mb = 500000\n", {"memory_enforcement_policy": "ignore"}, True),
        ("gpus = 1\n", {"override_gpus": 0}, True),
        ("", {"override_gpus": 1}, False),
        ("", {"override_storage_mb": 999999}, False),
    ],
)
def test_overrides_count(tmp_path: Path, toml: str, options: dict[str, Any], fits: bool) -> None:
    """--override-cpus and the like decide, not what the task says."""
    assert (reasons(make_task(tmp_path, toml=IMAGE_TOML + toml), **options) == []) is fits


def test_a_step_with_its_own_policy_is_named(tmp_path: Path) -> None:
    """Network policies of single steps count too."""
    toml = IMAGE_TOML + '[[steps]]\nname = "one"\n[steps.agent]\nnetwork_mode = "no-network"\n'
    files = {"steps/one/instruction.md": "x", "steps/one/tests/test.sh": "x"}
    assert any("[steps.one.agent]" in reason for reason in reasons(make_task(tmp_path, toml=toml, files=files)))


def test_without_verification_its_environment_does_not_count(tmp_path: Path) -> None:
    """A separate verifier that cannot run does no harm if nothing is verified."""
    task = make_task(tmp_path, toml=IMAGE_TOML + '[verifier.environment]\ndocker_image = "a"\ngpus = 2\n')
    assert reasons(task, verify=False) == []


def test_what_is_built(tmp_path: Path) -> None:
    """A Dockerfile is built unless the task names an image; a separate verifier's own Dockerfile is one more."""
    files = {"environment/Dockerfile": "FROM a", "tests/Dockerfile": "FROM b"}
    built = make_task(tmp_path, "built", toml=SEPARATE, files=files)
    named = make_task(tmp_path, "named", files={"environment/Dockerfile": "FROM a"})
    environments = task_environments(Task(built), verify=True)
    assert [environment.directory.name for environment in environments if environment.is_built] == [
        "environment",
        "tests",
    ]
    assert not any(environment.is_built for environment in task_environments(Task(named), verify=True))
