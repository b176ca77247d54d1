"""The workers' image on a real cluster, as the Deployment that ``deploy`` makes; queue and bucket are moto's.

Needs buildah. Where the cluster does not have the image yet it is built, which takes two minutes.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.chaos.jobs.ground import moto
from tests.integration.moto_stack import make_stack
from tests.kubernetes.worker_image_build import another_name, built_image, configuration, why_not
from tests.kubernetes.worker_image_departures import Departures, watched_departures
from tests.kubernetes.worker_image_node import node_address, server_of
from tests.kubernetes.worker_image_relay import relay_to
from tests.kubernetes.worker_image_stack import SLOTS, DeployedStack, until
from tests.tiny_tasks import make_task
from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.deploy.manifests.plan import ClusterPlan
from harbor_aws.infra.deploy.manifests.workers import USER
from harbor_aws.infra.deploy.removal import remove_objects
from harbor_aws.infra.worker_image.context import worker_context

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kubernetes, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]

TRIALS = 6
DRAIN_SECONDS = 4
"""Shorter than a trial, so that a worker that goes hands trials back."""

TRIAL_SECONDS = 8

TASK_TOML = """\
version = "1.0"
[agent]
timeout_sec = 120.0
[verifier]
timeout_sec = 60.0
[environment]
docker_image = "debian:bookworm"
cpus = 0
memory_mb = 128
"""
"""Without a share of the CPU for its own, so that a node of two has room for three at once."""

ZOMBIES = """
from pathlib import Path
states = [each.read_text().rpartition(")")[2].split()[0] for each in Path("/proc").glob("[0-9]*/stat")]
print(states.count("Z"))
"""


@pytest.fixture(scope="module")
def image() -> str:
    """The image's name in the cluster."""
    if reason := why_not():
        pytest.skip(reason)
    return built_image()


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedStack]:
    """A deployed stack without a worker, of which nothing stays."""
    kubeconfig, home = Path(os.environ["HARBOR_AWS_TEST_KUBECONFIG"]), tmp_path_factory.mktemp("home")
    address = node_address(kubeconfig)
    with moto(address) as endpoint, relay_to(server_of(kubeconfig), listening_on=address) as relay:
        bare = make_stack(endpoint, kubeconfig=kubeconfig)
        named = bare.model_copy(
            update={
                part: bare.trials.model_copy(update={"namespace": f"{bare.name}-{part}"})
                for part in ("trials", "workers")
            }
        )
        plan = ClusterPlan(
            stack=named,
            worker_image=image,
            worker_role_arn="arn:aws:iam::123456789012:role/worker",
            trials_security_group="sg-1",
            log_group=f"/harbor-aws/{named.name}/pods",
            max_vcpus=2,
            drain_seconds=DRAIN_SECONDS,
        )
        deployed = DeployedStack(plan, relay, home)
        deployed.remember()
        try:
            assert set(deployed.deploy(plan)) >= {"SecurityGroupPolicy"}
            yield deployed
        finally:
            asyncio.run(remove_objects(named, watcher=Memory()))


@pytest.fixture
def departures(stack: DeployedStack, tmp_path: Path) -> Iterator[Departures]:
    """How the workers end that a test makes; at first there is none."""
    stack.run("scale", "0")
    until(lambda: stack.workers() == [], what="a cluster without workers", seconds=60)
    with watched_departures(stack.plan.stack.workers, tmp_path) as departures:
        yield departures


@pytest.fixture
def job(stack: DeployedStack, tmp_path: Path) -> str:
    """A job in the queue, of trials that take a while."""
    task = make_task(
        tmp_path,
        "slow",
        toml=TASK_TOML,
        files={
            "solution/solve.sh": f"#!/bin/sh\nsleep {TRIAL_SECONDS}\necho done > /tmp/answer\n",
            "tests/test.sh": "#!/bin/sh\ngrep -qx done /tmp/answer && echo 1 > /logs/verifier/reward.txt\n",
        },
    )
    name = f"job-{uuid.uuid4().hex[:6]}"
    stack.run("enqueue", str(task), "-k", str(TRIALS), "-a", "oracle", "--job-name", name, "--quiet")
    return name


@pytest.fixture
def worker(stack: DeployedStack) -> str:
    """The name of the one worker's pod, which is alive; it stays for the next test."""
    stack.run("scale", "1")
    (pod,) = stack.workers()
    name: str = pod["metadata"]["name"]
    until(lambda: in_worker(stack, name, "test", "-e", "/tmp/alive") == 0, what="the worker's first sign of life")
    return name


def names_of(stack: DeployedStack) -> list[str]:
    """Of the workers' pods."""
    return [each["metadata"]["name"] for each in stack.workers()]


def in_worker(stack: DeployedStack, name: str, *command: str) -> int:
    """The exit code of a command in a worker's pod."""
    return stack.kubectl("exec", name, "--", *command, check=False).returncode


def wait_for_trials(stack: DeployedStack, job: str) -> None:
    """As many as a worker runs at once have reached their agent."""
    until(lambda: stack.phases(job).get("agent", 0) >= SLOTS, what="trials with an agent")


def assert_nothing_is_lost(stack: DeployedStack, job: str) -> None:
    """Every trial has one result with the right reward; no message, dead letter or pod is left."""
    until(lambda: stack.phases(job) == {"committed": TRIALS}, what=f"the end of {job}")
    assert stack.rewards(job) == [1.0] * TRIALS
    until(lambda: stack.messages_left() == (0, 0), what="an empty queue", seconds=60)
    until(lambda: not stack.trial_pods(), what="a cluster without trials", seconds=60)


def test_it_is_nobody_and_can_write_nothing(stack: DeployedStack, worker: str) -> None:
    """An own user, known by name; no file of the image's can be changed, and none lacks its bytecode."""
    said = stack.kubectl("exec", worker, "--", "sh", "-c", "id -u; id -un; pwd; touch /opt/x 2>&1 || true").stdout
    assert said.split("\n")[:3] == [str(USER), "worker", "/"]
    assert "Read-only file system" in said
    probe = "import harbor_aws.worker.trial as m; from pathlib import Path; print(Path(m.__cached__).exists())"
    assert stack.kubectl("exec", worker, "--", "python", "-c", probe).stdout == "True\n"


def test_it_knows_what_it_is(stack: DeployedStack, worker: str, image: str) -> None:
    """The commands are there, and it would be built again under its own tag."""
    probe = "from harbor_aws.infra.worker_image.context import worker_context; print(worker_context().tag)"
    assert stack.kubectl("exec", worker, "--", "python", "-c", probe).stdout.strip() == worker_context().tag
    assert image.endswith(worker_context().tag)
    assert "Usage" in stack.kubectl("exec", worker, "--", "harbor-aws", "--help").stdout


def test_its_health_check_tells_the_living_from_the_stuck(stack: DeployedStack, worker: str, image: str) -> None:
    """Docker's and the Deployment's, with one verdict: of a worker that lives, of an old sign of life, of none."""
    (pod,) = stack.workers()
    probe = pod["spec"]["containers"][0]["livenessProbe"]["exec"]["command"]
    kind, check = configuration(image)["Healthcheck"]["Test"]
    assert kind == "CMD-SHELL"
    for command in (probe, ["/bin/sh", "-c", check]):
        assert in_worker(stack, worker, *command) == 0
    stale = 'touch -d "6 minutes ago" /tmp/stale && HARBOR_AWS_ALIVE_FILE=/tmp/stale sh -c "$0"'
    assert in_worker(stack, worker, "sh", "-c", stale, check) == 1
    assert in_worker(stack, worker, "sh", "-c", stale, probe[-1].replace("/tmp/alive", "/tmp/stale")) == 1
    assert in_worker(stack, worker, "env", "HARBOR_AWS_ALIVE_FILE=/tmp/none", "sh", "-c", check) != 0


def test_it_starts_the_worker_by_itself(stack: DeployedStack, worker: str, image: str) -> None:
    """What it runs when nothing is said is what the Deployment says, with no shell between it and SIGTERM."""
    (pod,) = stack.workers()
    assert configuration(image)["Cmd"] == pod["spec"]["containers"][0]["command"]
    first = "from pathlib import Path; print(Path('/proc/1/cmdline').read_bytes().split(bytes(1))[1:3])"
    assert stack.kubectl("exec", worker, "--", "python", "-c", first).stdout == "[b'-m', b'harbor_aws.worker']\n"


def test_a_job_runs_to_its_end(stack: DeployedStack, worker: str, job: str) -> None:
    """By one worker, from the queue to the bucket; it leaves no process behind that nobody reaps."""
    assert_nothing_is_lost(stack, job)
    assert stack.kubectl("exec", worker, "--", "python", "-c", ZOMBIES).stdout == "0\n"


def test_scaling_in_the_middle_of_a_job_loses_nothing(stack: DeployedStack, job: str, departures: Departures) -> None:
    """From one worker to two, to none, while trials run, and to one again: those that went ended well."""
    stack.run("scale", "1")
    wait_for_trials(stack, job)
    stack.run("scale", "2")
    stack.run("scale", "0")
    assert stack.phases(job).get("committed", 0) < TRIALS, "it was over before the workers went"
    until(lambda: stack.workers() == [], what="a cluster without workers", seconds=60)
    assert sorted(departures.exit_codes().values()) == [0, 0]
    stack.run("scale", "1")
    assert_nothing_is_lost(stack, job)


def test_a_rolling_update_in_the_middle_of_a_job_loses_nothing(
    stack: DeployedStack, job: str, image: str, departures: Departures, worker: str
) -> None:
    """Another image: its worker comes, then the old one goes, with trials that run."""
    wait_for_trials(stack, job)
    newer = another_name(image)
    stack.deploy(replace(stack.plan, worker_image=newer))
    until(lambda: worker in departures.exit_codes(), what="the old worker's end")
    assert departures.exit_codes() == {worker: 0}
    assert stack.phases(job).get("committed", 0) < TRIALS, "it was over before the worker went"
    until(lambda: worker not in names_of(stack), what="the old worker's pod gone", seconds=60)
    (pod,) = stack.workers()
    assert pod["spec"]["containers"][0]["image"] == newer
    assert_nothing_is_lost(stack, job)
