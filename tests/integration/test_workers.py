"""Workers that come, go and die while a job runs: every trial still ends in one committed result."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.layout import results_prefix
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import RunningStack

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

TRIALS = {"embedded": 12, "real": 4}
"""By cluster: a real node of two processors runs two such pods at a time, and keeps a deleted one for ten seconds."""

BEGUN = {"embedded": 6, "real": 1}
"""Trials that have reached their agent when the trouble begins."""

FROM_THE_AGENT_ON = ("agent", "verifier", "collecting", "committed")

TASK_TOML = """\
version = "1.0"
[agent]
timeout_sec = 120.0
[verifier]
timeout_sec = 60.0
[environment]
docker_image = "debian:bookworm"
cpus = 1
memory_mb = 512
"""


@pytest.fixture
def slow_task(tmp_path: Path) -> Path:
    """A task whose solution takes eight seconds."""
    files = {
        "task.toml": TASK_TOML,
        "instruction.md": "Wait, then write done.\n",
        "solution/solve.sh": "#!/bin/sh\nsleep 8\necho done > /tmp/answer\n",
        "tests/test.sh": "#!/bin/sh\ngrep -qx done /tmp/answer && echo 1 > /logs/verifier/reward.txt\n",
        "environment/.keep": "",
    }
    for name, content in files.items():
        path = tmp_path / "slow-task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    return tmp_path / "slow-task"


@pytest.fixture
def running_job(stack: RunningStack, slow_task: Path) -> Iterator[str]:
    """A job, some of whose trials have reached their agent; afterwards the stack has two workers again."""
    job = f"slow-{uuid.uuid4().hex[:6]}"
    stack.run("enqueue", str(slow_task), "-k", str(TRIALS[stack.cluster]), "-a", "oracle", "--job-name", job)
    wait_until(lambda: begun(phases(stack, job)) >= BEGUN[stack.cluster])
    yield job
    stack.run("scale", "2")


def phases(stack: RunningStack, job: str) -> dict[str, int]:
    counts: dict[str, int] = stack.json("status", job)["phases"]
    return counts


def begun(counts: dict[str, int]) -> int:
    """How many have reached their agent."""
    return sum(counts.get(phase, 0) for phase in FROM_THE_AGENT_ON)


def worker_processes(stack: RunningStack) -> list[int]:
    """Pids of the stack's worker processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if b"harbor_aws.worker" in command.split(b"\0") and f"XDG_STATE_HOME={stack.home}".encode() in environment:
            found.append(int(process.name))
    return sorted(found)


def wait_until(condition: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.5)


def assert_each_is_committed_once(stack: RunningStack, job: str) -> None:
    """Every trial has one result with the right reward, and neither a message nor a pod is left."""
    trials = TRIALS[stack.cluster]
    wait_until(lambda: phases(stack, job) == {"committed": trials})
    outputs = Stack.model_validate(stack.json("local", "status")["stack"])
    store = ObjectStore.of(outputs)
    results = [json.loads(store.get(row.key) or b"") for row in store.list(results_prefix(job))]
    assert [result["rewards"] for result in results] == [{"reward": 1.0}] * trials
    wait_until(lambda: Queue.trials(outputs).counts().total == 0)
    assert stack.json("dlq", "list", "--job", job)["letters"] == []
    wait_until(lambda: pods_of(stack) == "", 60)


def pods_of(stack: RunningStack) -> str:
    return stack.kubectl(
        "get", "pods", "-n", "harbor-aws", "-l", "app.kubernetes.io/managed-by=harbor-aws", "-o", "name"
    )


def test_scaling_in_loses_nothing(stack: RunningStack, running_job: str) -> None:
    """From two workers to one in the middle of a job: the one that goes finishes its trials."""
    stack.run("scale", "1")
    wait_until(lambda: len(worker_processes(stack)) == 1)
    assert_each_is_committed_once(stack, running_job)


def test_scaling_to_nothing_and_out_again_loses_nothing(stack: RunningStack, running_job: str) -> None:
    """With no worker the rest waits in the queue; three workers then finish it."""
    stack.run("scale", "0")
    wait_until(lambda: worker_processes(stack) == [])
    stack.run("scale", "3")
    assert_each_is_committed_once(stack, running_job)


def test_a_killed_worker_loses_nothing(stack: RunningStack, running_job: str) -> None:
    """kill -9: its trials run again elsewhere after the visibility time-out, and its pods are removed."""
    os.kill(worker_processes(stack)[0], signal.SIGKILL)
    assert_each_is_committed_once(stack, running_job)


def test_a_deleted_pod_costs_an_attempt_and_no_score(stack: RunningStack, running_job: str) -> None:
    """Pods deleted under running agents: those trials are tried again and end with their right reward."""
    for pod in pods_of(stack).split()[: BEGUN[stack.cluster]]:
        stack.kubectl(
            "delete", "-n", "harbor-aws", pod, "--grace-period=0", "--force", "--wait=false", "--ignore-not-found"
        )
    assert_each_is_committed_once(stack, running_job)
