"""``harbor-aws doctor`` as a process: exit codes, what it prints, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.doctor_aws import cloud_before
from tests.integration.doctor_kubernetes import fake_cluster
from tests.integration.doctor_stack import Deployed, deploy_healthy, without_proxy
from tests.integration.moto_account import use_account
from tests.integration.moto_stack import moto_server

from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

COMMAND = [str(Path(sys.executable).with_name("harbor-aws")), "doctor"]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deployed]:
    """A whole one, of the account that this process's children have."""
    with moto_server() as moto_url, cloud_before(moto_url) as (cloud, cloud_url), fake_cluster() as cluster:
        use_account(monkeypatch, cloud_url)
        without_proxy(monkeypatch)
        yield deploy_healthy(cloud, cluster, moto_url, tmp_path)


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=100, check=False)


def test_all_is_well(stack: Deployed) -> None:
    """0, and every check that applies in the table."""
    done = doctor("--stack", stack.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fargate-vcpus" in done.stdout
    assert "→" not in done.stdout


def test_warnings_are_allowed(stack: Deployed) -> None:
    """Something to look at is no failure: 0, and what to type."""
    stack.cluster.remove("Secret", "harbor-aws-worker-secrets")
    done = doctor("--stack", stack.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  → harbor-aws secrets set ANTHROPIC_API_KEY" in done.stdout


def test_a_failure(stack: Deployed) -> None:
    """1; in JSON every check with its verdict, the whole with its worst, and nothing of a Secret but names."""
    stack.cluster.remove("Deployment", WORKER_DEPLOYMENT)
    done = doctor("--stack", stack.name, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["counts"]["failed"]) == (1, "failed", 1)
    found = {each["id"]: each for each in told["checks"]}
    assert found["worker-deployment"] == {
        "id": "worker-deployment",
        "title": "The workers' Deployment is there",
        "verdict": "failed",
        "evidence": "there is no Deployment harbor-aws-worker in harbor-aws",
        "fix": f"harbor-aws deploy --stack {stack.name}",
    }
    assert found["workers"]["evidence"] == "it rests on worker-deployment"
    assert "ANTHROPIC_API_KEY" in found["agent-keys"]["evidence"]
    assert "c2VjcmV0" not in done.stdout + done.stderr
    assert "secret" not in found["agent-keys"]["evidence"]


def test_a_server_that_never_answers(stack: Deployed) -> None:
    """It fails its own check after ten seconds, and holds up neither the others nor the process's end."""
    stack.cloud.silent = lambda call: call.service == "s3"
    begun = time.monotonic()
    done = doctor("--stack", stack.name, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["counts"]["failed"]) == (1, 1)
    assert "no answer within 10 s" in done.stdout
    assert time.monotonic() - begun < 80  # boto3 alone would try for minutes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--concurrency", "0"), "--concurrency"), (("--stack", "nowhere"), "set AWS_REGION"), (("--quick",), "--quick")],
)
def test_what_is_asked_wrongly(arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """2, as of every command."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    done = doctor(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 where no region can be known without it: one sentence, no traceback."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "no-such")
    done = doctor("--stack", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: AWS's configuration cannot be used: The config profile (no-such)")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_pod(stack: Deployed, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM while the probe's pod waits for a machine end with 130, and take it along."""
    stack.cluster.new_pod_status = {"phase": "Pending"}
    # Whoever runs the tests in the background has them ignore SIGINT, and every process after them.
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    command = [*COMMAND, "--stack", stack.name, "--probe"]
    with subprocess.Popen(
        command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed
    ) as running:
        try:
            deadline = time.monotonic() + 60
            while not probes(stack):
                assert running.poll() is None, running.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            running.send_signal(number)
            assert running.wait(60) == 130
        finally:
            running.kill()
    assert probes(stack) == []


def probes(stack: Deployed) -> list[str]:
    return [path for path in list(stack.cluster.objects) if "harbor-aws-probe" in path]
