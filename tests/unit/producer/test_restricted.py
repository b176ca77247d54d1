"""``enqueue --restricted``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from harbor_aws.infra import stack as stack_module
from harbor_aws.infra.stack import Stack, stack_file
from harbor_aws.producer.agents import ENVIRONMENT_KWARGS
from harbor_aws.producer.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("flags", "kwargs"),
    [(["--restricted"], {"restricted": True}), (["--ek", "restricted=true"], {"restricted": True}), ([], {})],
)
def test_the_flag_is_an_option_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], kwargs: dict[str, bool]
) -> None:
    """So it is in the job's plan and in a fetched job's configuration, and a job file may say it as well."""
    monkeypatch.setattr(stack_module, "state_directory", lambda: tmp_path)
    monkeypatch.delenv("HARBOR_AWS_STACK", raising=False)
    stack = Stack(name="local", region="x", queue_url="x", dead_letter_queue_url="x", bucket="x")
    stack_file("local").parent.mkdir()
    stack_file("local").write_text(stack.model_dump_json())
    result = CliRunner().invoke(app, ["enqueue", "-t", "org/task", *flags, "--print-config"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout).get("environment", {}).get("kwargs", {}) == kwargs
    assert kwargs.keys() <= ENVIRONMENT_KWARGS
