"""Harbor's environment in a pod that Pod Security's restricted admits."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from harbor.models.task.config import EnvironmentConfig
from harbor.models.trial.paths import TrialPaths

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.environment import FargateEnvironment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess
    from harbor_aws.worker.pods import PodKeeper

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


def make(tmp_path: Path, attempt: Attempt, restricted: Any) -> FargateEnvironment:
    """An environment of an image that is root's."""
    (tmp_path / "environment").mkdir()
    token = current_attempt.set(attempt)
    try:
        return FargateEnvironment(
            environment_dir=tmp_path / "environment",
            environment_name="task",
            session_id=f"{attempt.trial}__env",
            trial_paths=TrialPaths(trial_dir=tmp_path / "trial"),
            task_env_config=EnvironmentConfig(docker_image="debian:bookworm", cpus=1, memory_mb=256),
            mounts=[{"type": "bind", "source": str(tmp_path), "target": f"/logs/{name}"} for name in ("agent", "x")],
            restricted=restricted,
        )
    finally:
        current_attempt.reset(token)


def attempt_of(keeper: PodKeeper, access: KubernetesAccess) -> Attempt:
    stack = Stack(name="test", region="x", queue_url="x", dead_letter_queue_url="x", bucket="x", trials=access)
    return Attempt(
        stack=stack,
        settings=Settings(pod_start_timeout_seconds=60),
        pods=keeper,
        worker=keeper.worker,
        job="tests",
        trial=f"trial-{uuid.uuid4().hex[:8]}",
        number=1,
        attempt_id="01-abc",
    )


@pytest_asyncio.fixture(loop_scope="module")
async def restricted(tmp_path: Path, keeper: PodKeeper, access: KubernetesAccess) -> AsyncIterator[FargateEnvironment]:
    environment = make(tmp_path, attempt_of(keeper, access), restricted=True)
    await environment.start(force_build=False)
    yield environment
    await environment.stop(delete=True)


async def test_a_trials_life_without_root(tmp_path: Path, restricted: FargateEnvironment) -> None:
    """What Harbor does as root is done as the pod's user: its directories, uploads, commands and downloads work, and
    nothing in the pod may gain a privilege."""
    for user in (None, "root", 0, 1000):
        assert (await restricted.exec("id -u", user=user)).stdout == "1000\n"
    status = (await restricted.exec("cat /proc/self/status")).stdout or ""
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (facts["NoNewPrivs"], int(facts["CapEff"], 16)) == ("1", 0)
    assert (await restricted.exec("ls /var/run/secrets/kubernetes.io")).return_code != 0
    task = tmp_path / "tests"
    task.mkdir()
    (task / "test.sh").write_text("#!/bin/sh\necho 1 > /logs/x/reward.txt; touch /solution/a /installed-agent/b\n")
    await restricted.empty_dirs(["/tests"], chmod=False)
    await restricted.upload_dir(task, "/tests")
    await restricted.upload_file(task / "test.sh", "/solution/solve.sh")
    assert (await restricted.exec("chmod +x /tests/test.sh && /tests/test.sh", user="root")).return_code == 0
    await restricted.download_dir("/logs/x", tmp_path / "out")
    assert (tmp_path / "out" / "reward.txt").read_text() == "1\n"


async def test_nobody_becomes_another(restricted: FargateEnvironment) -> None:
    """A command that a task wants run as another user fails, and says why."""
    result = await restricted.exec("id -u", user="nobody")
    assert result.return_code != 0
    assert result.stdout != "65534\n"
    assert result.stderr


async def test_restricted_is_yes_or_no(tmp_path: Path, keeper: PodKeeper, access: KubernetesAccess) -> None:
    """Anything else is refused before a pod is made."""
    with pytest.raises(PermanentError, match="true or false"):
        make(tmp_path, attempt_of(keeper, access), restricted="perhaps")
