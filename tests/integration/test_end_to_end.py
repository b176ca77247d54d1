"""The whole way: enqueue, SQS, Celery workers, pods, exec and tar, S3, status, fetch, Harbor's own commands."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harbor.models.task.task import Task

from harbor_aws.infra.layout import attempt_key, results_prefix
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.examples import expected_rewards, tasks_directory
from harbor_aws.producer.state import CommittedResult
from harbor_aws.producer.usage import total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import RunningStack

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(400)]

LIGHT = [
    "environment-variables",
    "hello-world",
    "image-stages",
    "ordinary-user",
    "separate-verifier",
    "several-rewards",
    "two-steps",
    "wrong-answer",
]
"""Tasks that neither run into a time-out nor move 64 MiB."""

ATTEMPTS = {"embedded": 25, "real": 1}
"""By cluster: a real node of two processors runs two such pods at a time, and keeps a deleted one for ten seconds."""

Outcome = dict[str, Any]


def outcomes(job_directory: Path) -> dict[str, list[Outcome]]:
    """By task: how each fetched trial ended, in the form of ``expected.json``."""
    found: dict[str, list[Outcome]] = {}
    for path in sorted(job_directory.glob("*/result.json")):
        result = json.loads(path.read_text())
        outcome = {
            "rewards": result["verifier_result"] and result["verifier_result"]["rewards"],
            "exception": result["exception_info"] and result["exception_info"]["exception_type"],
        }
        found.setdefault(Path(result["config"]["task"]["path"]).name, []).append(outcome)
    return found


def runnable(stack: RunningStack) -> list[str]:
    """The examples that the stack has images for."""
    tasks = sorted(expected_rewards())
    if stack.has_built_images:
        return tasks
    return [task for task in tasks if Task(tasks_directory() / task).config.environment.docker_image]


def included(tasks: list[str]) -> list[str]:
    return [argument for task in tasks for argument in ("-i", task)]


def outputs(stack: RunningStack) -> Stack:
    return Stack.model_validate(stack.json("local", "status")["stack"])


@pytest.fixture(scope="module")
def fetched_job(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The example dataset with the oracle: enqueued, waited for and fetched; the job and its directory."""
    job = f"examples-{uuid.uuid4().hex[:6]}"
    directory = tmp_path_factory.mktemp("jobs")
    stack.run(
        "enqueue", str(tasks_directory()), *included(runnable(stack)), "-a", "oracle", "--job-name", job,
        "-o", str(directory), "--wait", timeout=240,
    )  # fmt: skip
    return job, directory / job


def test_every_example_gets_its_expected_reward(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Every kind of task, a zero reward and a time-out included, ends as the dataset says."""
    expected = expected_rewards()
    assert outcomes(fetched_job[1]) == {task: [expected[task]] for task in runnable(stack)}


def test_a_finished_job_is_all_committed(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Every trial of the plan has its result."""
    status = stack.json("status", fetched_job[0])
    assert status["phases"] == {"committed": status["trials"]}


def test_a_jobs_cost_is_that_of_its_pods(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Every result has its pods, a verifier's own too, with size and times; `status` adds them up, and says dollars."""
    store = ObjectStore.of(outputs(stack))
    results = [
        CommittedResult.model_validate_json(store.get(row.key) or b"")
        for row in store.list(results_prefix(fetched_job[0]))
    ]
    pods = [pod for result in results for pod in result.pods]
    assert all(result.pods and result.consumed for result in results)
    assert {pod.role for pod in pods} == {"agent", "verifier"}
    for pod in pods:
        assert pod.scheduled_at is not None
        assert pod.running_at is not None
        assert pod.ended_at is not None
        assert pod.created_at <= pod.scheduled_at <= pod.running_at <= pod.ended_at
    cost = stack.json("status", fetched_job[0])["cost"]
    whole = total(result.consumed for result in results if result.consumed)
    assert cost["pods"] == whole.pods >= len(pods)
    assert (cost["vcpu_hours"], cost["memory_gb_hours"]) == pytest.approx((whole.vcpu_hours, whole.memory_gb_hours))
    assert cost["usd"] == pytest.approx(whole.vcpu_hours * 0.04048 + whole.memory_gb_hours * 0.004445, rel=0.01)
    assert cost["trials_not_counted"] == 0


def test_a_fetched_directory_holds_what_the_bucket_holds(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """One directory a committed result, with the files of the attempt that the result names."""
    job, directory = fetched_job
    store = ObjectStore.of(outputs(stack))
    results = [json.loads(store.get(row.key) or b"") for row in store.list(results_prefix(job))]
    assert {result["trial"] for result in results} == {path.parent.name for path in directory.glob("*/result.json")}
    for result in results:
        assert result["archive"] == attempt_key(job, result["trial"], result["attempt_id"])
        assert store.exists(result["archive"])
        assert (directory / result["trial"] / "trial.log").is_file()


def test_a_second_fetch_moves_nothing(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Fetching again downloads no trial."""
    job, directory = fetched_job
    assert stack.json("fetch", job, "-o", str(directory.parent))["fetched"] == 0


def test_harbor_resumes_exactly_what_is_missing(
    stack: RunningStack, fetched_job: tuple[str, Path], tmp_path: Path
) -> None:
    """`harbor job resume` accepts a fetched directory that lacks one trial, runs that one, and no other."""
    job, fetched = fetched_job
    directory = tmp_path / job
    stack.run("fetch", job, "-o", str(tmp_path))
    missing = next(path.parent for path in sorted(directory.glob("several-rewards*/result.json")))
    before = {path: path.stat().st_mtime_ns for path in directory.glob("*/result.json") if path.parent != missing}
    shutil.rmtree(missing)
    stack.run("job", "resume", "-p", str(directory), program="harbor", timeout=200)
    after = {path: path.stat().st_mtime_ns for path in directory.glob("*/result.json")}
    assert before.items() <= after.items()
    assert outcomes(directory) == outcomes(fetched)


def test_harbor_view_shows_a_fetched_job_with_its_statistics(
    stack: RunningStack, fetched_job: tuple[str, Path]
) -> None:
    """`harbor view` serves the job with its number of trials and its mean reward."""
    job, directory = fetched_job
    with viewer(stack, directory.parent) as url:
        shown = json.loads(urllib.request.urlopen(f"{url}/api/jobs/{job}", timeout=10).read())  # noqa: S310 - loopback
    assert shown["n_total_trials"] == len(runnable(stack))
    assert shown["stats"]["evals"]


def test_many_trials_are_each_committed_once(stack: RunningStack, tmp_path: Path) -> None:
    """On 2 workers of 16 slots: all committed, rewards as expected, and `status` adds up at every moment.

    Leaves its figures in ``build/end_to_end_<cluster>.json``.
    """
    tasks = [task for task in LIGHT if task in runnable(stack)]
    attempts = ATTEMPTS[stack.cluster]
    total = len(tasks) * attempts
    job = f"many-{uuid.uuid4().hex[:6]}"
    requests_before, began = api_requests(stack), time.monotonic()
    with watching(stack, job, total) as sums:
        stack.run(
            "enqueue", str(tasks_directory()), *included(tasks), "-k", str(attempts), "-a", "oracle", "--job-name", job,
            "-o", str(tmp_path), "--wait", timeout=380,
        )  # fmt: skip
    seconds = time.monotonic() - began
    expected = expected_rewards()
    assert outcomes(tmp_path / job) == {task: [expected[task]] * attempts for task in tasks}
    assert len(sums) > 1
    assert set(sums) == {total}
    store = ObjectStore.of(outputs(stack))
    results = [json.loads(store.get(row.key) or b"") for row in store.list(results_prefix(job))]
    assert len(results) == total
    assert len({result["result"]["id"] for result in results}) == total
    write_figures(
        stack,
        {
            "trials": total,
            "seconds": round(seconds, 1),
            "attempts_beyond_the_first": sum(result["attempt"] - 1 for result in results),
            "api_requests_per_trial": {
                verb: round(count / total, 2) for verb, count in sorted((api_requests(stack) - requests_before).items())
            },
            "worker_rss_mib": worker_rss_mib(stack),
        },
    )


def test_no_pod_is_left(stack: RunningStack, fetched_job: tuple[str, Path]) -> None:
    """Trials delete their pods; after all the others this test finds none."""
    left = "x"
    deadline = time.monotonic() + 30
    while left and time.monotonic() < deadline:
        left = stack.kubectl(
            "get", "pods", "-n", "harbor-aws", "-l", "app.kubernetes.io/managed-by=harbor-aws", "-o", "name"
        )
        time.sleep(0.5)
    assert left == ""


@contextmanager
def viewer(stack: RunningStack, jobs_directory: Path) -> Iterator[str]:
    """`harbor view` on a free port; its URL."""
    port = free_port()
    program = Path(sys.executable).with_name("harbor")
    command = [str(program), "view", str(jobs_directory), "--jobs", "--no-build", "--port", str(port)]
    with subprocess.Popen(
        command, env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@contextmanager
def watching(stack: RunningStack, job: str, total: int) -> Iterator[list[int]]:
    """The sums of all counts of `status`, read again and again meanwhile."""
    sums: list[int] = []
    done = threading.Event()
    reader = threading.Thread(target=read_sums, args=(stack, job, sums, done))
    reader.start()
    try:
        yield sums
    finally:
        done.set()
        reader.join()


def read_sums(stack: RunningStack, job: str, sums: list[int], done: threading.Event) -> None:
    while not done.wait(1):
        status = stack.run("status", job, "--json", check=False)
        if status.returncode == 0:  # else the job is not there yet
            sums.append(sum(json.loads(status.stdout)["phases"].values()))


def api_requests(stack: RunningStack) -> Counter[str]:
    """The API server's requests about pods so far, by verb, with exec as a verb of its own."""
    counts: Counter[str] = Counter()
    for line in stack.kubectl("get", "--raw", "/metrics").splitlines():
        found = re.match(r"apiserver_request_total{(.*)} ([0-9.e+]+)$", line)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', found[1])) if found else {}
        if found and labels["resource"] == "pods":
            counts[labels["subresource"] or labels["verb"].lower()] += int(float(found[2]))
    return counts


def worker_rss_mib(stack: RunningStack) -> list[int]:
    """Resident memory of each worker process."""
    marker = f"XDG_STATE_HOME={stack.home}".encode()
    sizes = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_worker = b"harbor_aws.worker" in (process / "cmdline").read_bytes().split(b"\0")
            if is_worker and marker in (process / "environ").read_bytes().split(b"\0"):
                status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
                sizes.append(int(status["VmRSS"].split()[0]) // 1024)
    return sizes


def write_figures(stack: RunningStack, figures: dict[str, Any]) -> None:
    path = Path("build") / f"end_to_end_{stack.cluster}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")
