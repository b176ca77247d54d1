"""What a job calls `${NAME}`, and whether workers have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from harbor.models.job.config import JobConfig
from harbor.models.task.task import Task
from tests.tiny_tasks import IMAGE_TOML, make_task
from tests.unit.infra.deploy.fake_api import fake_api_in_a_thread

from harbor_aws.infra.local.stack import secrets_directory
from harbor_aws.infra.secrets.files import replace_secrets
from harbor_aws.infra.secrets.kubernetes import SECRETS
from harbor_aws.infra.stack import LOCAL_STACK, KubernetesAccess, Stack
from harbor_aws.producer.cli.variables import missing_variables
from harbor_aws.producer.variables import called_for, job_variable_reasons, task_variable_reasons

if TYPE_CHECKING:
    from pathlib import Path

SECRET = f"/api/v1/namespaces/harbor-aws/secrets/{SECRETS}"

ENV_TOML = (
    IMAGE_TOML
    + '[environment.env]\nA = "${A}"\nD = "${D:-x}"\n[verifier.env]\nV = "${V}"\n[solution.env]\nS = "${S}"\n'
)


@pytest.mark.parametrize(
    ("config", "called"),
    [
        ({}, {"[environment.env]": "A", "[verifier.env]": "V", "[solution.env]": "S"}),
        ({"agents": [{"name": "nop"}]}, {"[environment.env]": "A", "[verifier.env]": "V"}),
        ({"environment": {"env": {"A": "a"}}, "verifier": {"disable": True}}, {"[solution.env]": "S"}),
        ({"verifier": {"env": {"V": "${W}"}}}, {"--ve": "W", "[environment.env]": "A", "[solution.env]": "S"}),
        (
            {"agents": [{"name": "nop", "env": {"K": "${K}"}}, {"name": "nop", "env": {"L": "${K}"}}]},
            {"--ae": "K", "[environment.env]": "A", "[verifier.env]": "V"},
        ),
    ],
)
def test_what_is_called_for(tmp_path: Path, config: dict[str, Any], called: dict[str, str]) -> None:
    """A `${NAME}` without a default, unless the job sets the variable or its section is not used; each said once."""
    job, task = JobConfig.model_validate(config), Task(make_task(tmp_path, toml=ENV_TOML)).config
    names = called_for(job, [task])
    assert names == set(called.values())
    found = [*job_variable_reasons(job, names), *task_variable_reasons(task, job, names)]
    assert [reason.partition(",")[0] for reason in found] == [
        f"{place} needs ${{{name}}}" for place, name in called.items()
    ]
    assert job_variable_reasons(job, ()) == task_variable_reasons(task, job, ()) == []


def stack(name: str, access: KubernetesAccess | None = None) -> Stack:
    access = access or KubernetesAccess()
    return Stack(name=name, region="r", queue_url="-", dead_letter_queue_url="-", bucket="-", workers=access)


NAMES = frozenset({"KEPT", "HERE", "NOWHERE"})


async def test_a_deployed_stacks_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those of the workers' Secret are there; one that only this shell has passes, and is spoken of."""
    monkeypatch.setenv("HERE", "x")
    with fake_api_in_a_thread(tmp_path) as (access, api):
        api.put(SECRET, {"metadata": {"name": SECRETS}, "data": {"KEPT": "a2V5"}})
        assert await missing_variables(stack("team", access), NAMES) == {"NOWHERE"}
        said = capfd.readouterr().err
        assert "Not among the workers' secrets, but set in this shell: HERE. Trials fail unless" in said
        assert await missing_variables(stack("team", access), frozenset({"KEPT"})) == frozenset()
        assert capfd.readouterr().err == ""


async def test_secrets_that_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who may enqueue need not be allowed to: this shell's variables are gone by, and that is said."""
    monkeypatch.setenv("HERE", "x")
    nobody = KubernetesAccess(kubeconfig=tmp_path / "none")
    assert await missing_variables(stack("team", nobody), NAMES) == {"KEPT", "NOWHERE"}
    assert "The workers' secrets could not be looked at: " in capfd.readouterr().err


async def test_the_local_stacks_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its files, and this shell's, of which its workers are taken to have been started."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setitem(os.environ, "HERE", "x")
    replace_secrets(secrets_directory(), {"KEPT": "k"})
    assert await missing_variables(stack(LOCAL_STACK), NAMES) == {"NOWHERE"}
    assert capfd.readouterr().err == ""
