"""The doctor at a local stack: servers that are there, and what is looked at of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.embedded_kubernetes import embedded_kubernetes
from tests.integration.moto_stack import REGION, moto_server

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind
from harbor_aws.infra.local.services import create_queues_and_bucket
from harbor_aws.infra.local.workers import worker_deployment
from harbor_aws.infra.stack import KubernetesAccess, Stack, stack_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import RunningStack

pytestmark = [pytest.mark.root, pytest.mark.slow]

NAME = "doctored"
LOCAL = {check.id for check in CHECKS if Kind.LOCAL in check.applies_to}


@dataclass(frozen=True, slots=True)
class LocalStack:
    """One whose servers are the test's own, so that nobody but its processes is missing."""

    home: Path
    stack: Stack

    def doctor(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "--stack", NAME, *arguments],
            env={**os.environ, "XDG_STATE_HOME": str(self.home), "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def verdicts(self, *arguments: str, **environment: str) -> dict[str, str]:
        """Of the checks that are for local stacks."""
        told = json.loads(self.doctor("--json", *arguments, **environment).stdout)
        return {each["id"]: each["verdict"] for each in told["checks"] if each["id"] in LOCAL}


COMMAND = [str(Path(sys.executable).with_name("harbor-aws")), "doctor"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    if os.geteuid() != 0:
        pytest.skip("pods as processes need root")
    home = tmp_path_factory.mktemp("home")
    with moto_server() as url, embedded_kubernetes(tmp_path_factory.mktemp("kubernetes")) as kubeconfig:
        access = KubernetesAccess(kubeconfig=kubeconfig)
        bare = Stack(
            name=NAME,
            region=REGION,
            queue_url="",
            dead_letter_queue_url="",
            bucket="doctored",
            endpoint_url=url,
            trials=access,
            workers=access,
        )
        stack = create_queues_and_bucket(bare, visibility_timeout_seconds=120)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(home))
            path = stack_file(NAME)
        path.parent.mkdir(parents=True)
        path.write_text(stack.model_dump_json())
        asyncio.run(_start_worker(stack))
        yield LocalStack(home, stack)


async def _start_worker(stack: Stack) -> None:
    """A pod of the workers' Deployment that only waits, and that is ready."""
    manifest: dict[str, Any] = worker_deployment(
        namespace=stack.workers.namespace, replicas=1, environment={}, directory=Path("/"), shared=[], drain_seconds=1
    )
    manifest["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "infinity"]
    async with Cluster.open(stack.workers) as cluster, asyncio.timeout(60):
        await cluster.apply_deployment(manifest)
        while not (await cluster.deployment(manifest["metadata"]["name"])).get("status", {}).get("readyReplicas"):
            await asyncio.sleep(0.1)


def test_what_applies_is_looked_at(local: LocalStack) -> None:
    """Queues, bucket, API, workers, exec and a probe are well; the servers are not those of `local up`, and it says so.

    What a local stack has not is skipped.
    """
    done = local.doctor("--json", "--probe")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    verdicts = {each["id"]: each["verdict"] for each in told["checks"]}
    assert {id for id, verdict in verdicts.items() if verdict == "failed"} == {"local-processes"}
    assert {id for id, verdict in verdicts.items() if verdict == "skipped"} == {each.id for each in CHECKS} - LOCAL
    said = {each["id"]: each for each in told["checks"]}
    assert said["local-processes"]["evidence"].startswith("aws and kubernetes do not run")
    assert "local up" in said["local-processes"]["fix"]
    assert said["credentials"]["evidence"] == "not a matter of a local stack"
    assert said["exec"]["evidence"].startswith("`true` took")


def test_a_full_disk(local: LocalStack, tmp_path: Path) -> None:
    """A directory of temporary files with less than a gigabyte is found."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(tmp_path)], check=True)
    try:
        assert local.verdicts(TMPDIR=str(tmp_path))["disk"] == "failed"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_the_table(local: LocalStack) -> None:
    """Without --json a table of what applies, what to do about what failed, and a summary; the exit code is 1."""
    done = local.doctor()
    assert done.returncode == 1
    assert "local-processes" in done.stdout
    assert "→ `harbor-aws local down`" in done.stdout
    assert "worker-rights" not in done.stdout
    assert "not a matter of such a stack" in done.stdout


def test_no_such_stack(tmp_path: Path) -> None:
    """The local stack that is not up fails one check, and nothing else is looked at; the exit code is 1."""
    absent = LocalStack(tmp_path, Stack(name="", region="", queue_url="", dead_letter_queue_url="", bucket=""))
    done = absent.doctor("--json", "--stack", "local")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert {each["id"] for each in told["checks"] if each["verdict"] == "failed"} == {"stack"}
    assert next(each for each in told["checks"] if each["id"] == "stack")["fix"] == "harbor-aws local up"
    assert told["verdict"] == "failed"


def test_a_stack_that_is_up(stack: RunningStack) -> None:
    """At what `local up` makes nothing is wrong, and its workers are who exec is tried in."""
    told = stack.json("doctor", "--probe")
    found = {each["id"]: each for each in told["checks"]}
    assert not [each for each in told["checks"] if each["verdict"] == "failed"]
    skipped = {id for id, each in found.items() if each["verdict"] == "skipped"}
    untold = {"kubernetes-version"}  # of a Kubernetes that was built without
    assert skipped - untold == {each.id for each in CHECKS} - LOCAL
    assert "2 of 2 ready" in found["workers"]["evidence"]
