"""The flags of enqueue are Harbor's own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml
from harbor.cli.jobs import build_job_config
from harbor.models.job.config import JobConfig
from typer.testing import CliRunner

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.cli.app import app
from harbor_aws.producer.cli.flags import HARBOR_PARAMETERS, REFUSED, harbor_flags, job_config, refuse_flags

if TYPE_CHECKING:
    from pathlib import Path


def given(**options: Any) -> dict[str, Any]:
    """What Typer hands over when these flags are given."""
    return {name: parameter.default for name, parameter in HARBOR_PARAMETERS.items()} | options


def help_of(*arguments: str, wide: bool = True) -> str:
    result = CliRunner(env={"COLUMNS": "300" if wide else "80"}).invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0
    return result.output


def test_every_flag_of_harbor_is_there() -> None:
    """With Harbor's names and types, whatever Harbor's version has."""
    flags = {parameter.name: parameter for parameter in harbor_flags()}
    assert list(flags) == list(inspect.signature(build_job_config).parameters)
    for name, parameter in HARBOR_PARAMETERS.items():
        assert get_args(flags[name].annotation)[0] == get_args(parameter.annotation)[0]
        assert flags[name].default == parameter.default


def test_what_is_refused_exists() -> None:
    """Every refused parameter is one of Harbor's, so that none is refused in vain."""
    assert REFUSED.keys() <= HARBOR_PARAMETERS.keys()


def test_help_shows_what_can_be_used() -> None:
    """Flags that work are shown, those that are refused are not, and each command has examples."""
    shown = help_of("enqueue")
    for flag in (
        "--agent",
        "--model",
        "--n-attempts",
        "--include-task-name",
        "--ek",
        "--ak",
        "--ae",
        "--override-cpus",
    ):
        assert flag in shown
    for flag in ("--launch", "--upload", "--stream", "--n-concurrent", "--plugin", "--mounts", "--diff"):
        assert f"{flag} " not in shown
    for command in ("enqueue", "status", "fetch", "scale"):
        assert "Examples:" in help_of(command)
    assert "DATASET" in help_of("enqueue")


def test_refusals_name_the_flag() -> None:
    """All refused flags at once, each with its reason, also where Harbor derives a flag from a parameter's name."""
    with pytest.raises(UsageError) as refused:
        refuse_flags(["launch", "mounts", "registry_credential", "agent_name"])
    assert [part.split(":")[0] for part in str(refused.value).split("; ") if part.startswith("--")] == [
        "--launch",
        "--mounts",
        "--registry-secret",
    ]
    refuse_flags(["agent_name", "model_names"])


def test_harbor_reads_its_own_flags() -> None:
    """The meaning of the flags is Harbor's."""
    config = job_config(given(agent_name="nop", model_names=["a", "b"], n_attempts=4, agent_kwargs=["x=1"]))
    assert [(agent.name, agent.model_name, agent.kwargs) for agent in config.agents] == [
        ("nop", "a", {"x": 1}),
        ("nop", "b", {"x": 1}),
    ]
    assert config.n_attempts == 4


@pytest.mark.parametrize("environment", [{"type": "daytona"}, {"import_path": "other:Environment"}])
def test_another_environment_in_a_file_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    """A job.yaml that asks for another environment is not run in ours silently."""
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"environment": environment}))
    with pytest.raises(UsageError, match="asks for the environment"):
        job_config(given(config_path=[str(tmp_path / "job.yaml")]))


@pytest.mark.parametrize(
    "content", ["environment: {type: docker}", "environment: {}", "n_concurrent_trials: 100\njob_name: x"]
)
def test_an_ordinary_file_is_taken(tmp_path: Path, content: str) -> None:
    """Harbor's default environment in a file means no choice."""
    (tmp_path / "job.yaml").write_text(content)
    assert isinstance(job_config(given(config_path=[str(tmp_path / "job.yaml")])), JobConfig)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config_path": ["/nowhere.yaml"]}, "/nowhere.yaml"),
        ({"agent_kwargs": ["x"]}, "Invalid kwarg format"),
        ({"user_model": "x"}, "require --user-agent"),
        ({"n_attempts": 0}, "n_attempts: Input should be greater"),
        ({"environment": "docker"}, "leave the flag out"),
    ],
)
def test_what_harbor_refuses_is_one_error(
    options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever way Harbor reports a mistake, it becomes ours and nothing is printed on the side."""
    with pytest.raises(UsageError, match=message):
        job_config(given(**options))
    assert capsys.readouterr().out == ""
