"""What a trial may take at most: Harbor's own time-outs, one pod for each environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from harbor.models.task.task import Task
from harbor.models.trial.config import TrialConfig
from harbor.trial.trial import Trial
from tests.tiny_tasks import IMAGE_TOML, make_task

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.fargate import FargateSize
from harbor_aws.producer.estimate.limits import planned_pods
from harbor_aws.producer.portable import ENVIRONMENT_IMPORT_PATH

if TYPE_CHECKING:
    from pathlib import Path

    from harbor_aws.producer.estimate.pods import PlannedPod

DEADLINE = 41_400.0
TIMED_TOML = """
[environment]
docker_image = "debian:bookworm"
build_timeout_sec = 100
cpus = 2
memory_mb = 4096
[agent]
timeout_sec = 1000
[verifier]
timeout_sec = 200
"""
VERIFIER_TOML = TIMED_TOML + "[verifier.environment]\ndocker_image = 'debian:bookworm'\nmemory_mb = 1024\n"
STEPS_TOML = """
[environment]
docker_image = "debian:bookworm"
build_timeout_sec = 100
[agent]
timeout_sec = 1000
[verifier]
environment_mode = "separate"
[[steps]]
name = "first"
[steps.verifier]
timeout_sec = 10
[[steps]]
name = "second"
[steps.agent]
timeout_sec = 50
[steps.verifier]
timeout_sec = 20
"""


def pods(task: Path, **config: Any) -> tuple[PlannedPod, ...]:
    config.setdefault("agent", {"name": "oracle"})
    trial = TrialConfig.model_validate({"task": {"path": task}, **config})
    return planned_pods(Task(task), trial, deadline_seconds=DEADLINE)


def test_start_setup_agent_and_verifier_add_up(tmp_path: Path) -> None:
    """One pod, for which each of Harbor's time-outs may pass, 360 s of setup by default."""
    (pod,) = pods(make_task(tmp_path, toml=TIMED_TOML))
    assert pod.size == FargateSize(2000, 5 * 1024)
    assert (pod.start_seconds, pod.busy_seconds, pod.is_bounded) == (100, 360 + 1000 + 200, True)


@pytest.mark.parametrize(
    ("config", "busy"),
    [
        ({"timeout_multiplier": 2.0}, 2 * 1560),
        ({"agent_timeout_multiplier": 3.0, "timeout_multiplier": 2.0}, 2 * 360 + 3 * 1000 + 2 * 200),
        ({"agent": {"name": "oracle", "max_timeout_sec": 300}}, 360 + 300 + 200),
        ({"agent": {"name": "oracle", "override_timeout_sec": 5, "override_setup_timeout_sec": 1}}, 1 + 5 + 200),
        ({"verifier": {"disable": True}}, 1360),
        ({"verifier": {"override_timeout_sec": 7}}, 360 + 1000 + 7),
        ({"install_only": True}, 360),
    ],
)
def test_what_changes_a_timeout(tmp_path: Path, config: dict[str, Any], busy: float) -> None:
    """Multipliers, overrides, bounds, and phases that are left out."""
    assert pods(make_task(tmp_path, toml=TIMED_TOML), **config)[0].busy_seconds == busy


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"timeout_multiplier": 1.5, "verifier_timeout_multiplier": 4.0, "environment_build_timeout_multiplier": 0.5},
        {"agent": {"name": "oracle", "override_timeout_sec": 77, "max_timeout_sec": 60}, "timeout_multiplier": 3.0},
    ],
)
async def test_the_times_are_harbors(tmp_path: Path, config: dict[str, Any]) -> None:
    """Harbor's own trial has the same ones."""
    task = make_task(tmp_path, toml=TIMED_TOML)
    given = {"task": {"path": task}, "agent": {"name": "oracle"}, "trials_dir": tmp_path, "trial_name": "t", **config}
    environment = {"import_path": ENVIRONMENT_IMPORT_PATH}
    trial = await Trial.create(TrialConfig.model_validate({**given, "environment": environment}))
    (pod,) = pods(task, **config)
    assert pod.start_seconds == trial.environment_build_timeout_sec
    assert pod.busy_seconds == (
        trial.agent_setup_timeout_sec + (trial.agent_timeout_sec or 0) + trial.verifier_timeout_sec
    )


def test_an_agent_without_a_limit_has_the_deadlines(tmp_path: Path) -> None:
    """Nothing else bounds it, and that is told."""
    (pod,) = pods(make_task(tmp_path))
    assert (pod.seconds, pod.is_bounded) == (DEADLINE, False)


def test_a_separate_verifier_is_another_pod(tmp_path: Path) -> None:
    """Of its own size; the agent's pod is gone by then."""
    agent, verifier = pods(make_task(tmp_path, toml=VERIFIER_TOML))
    assert (agent.role, agent.busy_seconds) == ("agent", 360 + 1000)
    assert (verifier.role, verifier.size) == ("verifier", FargateSize(1000, 2 * 1024))
    assert (verifier.start_seconds, verifier.busy_seconds) == (100, 200)


def test_without_verification_there_is_no_verifier(tmp_path: Path) -> None:
    """Not even one with an environment of its own."""
    assert len(pods(make_task(tmp_path, toml=VERIFIER_TOML), verifier={"disable": True})) == 1


def test_the_agent_waits_for_the_verifiers_between_its_steps(tmp_path: Path) -> None:
    """Each step has a pod that verifies it; only for the last of them the agent's is gone."""
    step = {"instruction.md": "Do.\n", "tests/test.sh": "#!/bin/bash\necho 1 > /logs/verifier/reward.txt\n"}
    files = {f"steps/{name}/{file}": text for name in ("first", "second") for file, text in step.items()}
    agent, first, second = pods(make_task(tmp_path, toml=STEPS_TOML, files=files))
    assert agent.busy_seconds == 360 + 1000 + (100 + 10) + 50
    assert [(pod.role, pod.start_seconds, pod.busy_seconds) for pod in (first, second)] == [
        ("verifier", 100, 10),
        ("verifier", 100, 20),
    ]
    assert [pod.is_beside_agent for pod in (agent, first, second)] == [False, True, False]


def test_the_jobs_sizes_win(tmp_path: Path) -> None:
    """Of every pod; what is to be ignored is, and what fits nowhere is refused."""
    task = make_task(tmp_path, toml=VERIFIER_TOML)
    sizes = [pod.size for pod in pods(task, environment={"override_cpus": 4, "override_memory_mb": 8192})]
    assert sizes == [FargateSize(4000, 9 * 1024)] * 2
    ignoring = {"cpu_enforcement_policy": "ignore", "memory_enforcement_policy": "ignore"}
    assert pods(task, environment=ignoring)[0].size == FargateSize(1000, 3 * 1024)
    with pytest.raises(PermanentError, match="32 CPUs"):
        pods(make_task(tmp_path, "huge", toml=IMAGE_TOML), environment={"override_cpus": 32})
