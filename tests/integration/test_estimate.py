"""The price before: the command, with and without a stack, against the real wire protocol of S3."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.integration.moto_stack import make_stack, moto_server
from tests.integration.producer_command import Command
from tests.tiny_tasks import make_task

from harbor_aws.infra.layout import result_key, state_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.stack import stack_file
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.state import CommittedResult, Phase, TrialState
from harbor_aws.producer.usage import PodUsage
from harbor_aws.worker.admission import Admission

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.stack import Stack

# Harbor's own, about what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

TOML = """
[environment]
docker_image = "debian:bookworm"
build_timeout_sec = 40
cpus = 4
memory_mb = 12000
[agent]
timeout_sec = 2400
[verifier]
timeout_sec = 800
"""
"""At most an hour: 40 s, Harbor's 360 s for the agent's setup, and the rest. Billed as 4 vCPU and 12 GB."""
USD = 4 * 0.04048 + 12 * 0.004445
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a stack nor AWS's configuration is anywhere to be found."""
    for name in ("HARBOR_AWS_STACK", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def moto(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A fresh stack, which the commands find under its name."""
    stack = make_stack(server, kubeconfig=tmp_path / "no-cluster")
    monkeypatch.setenv("HARBOR_AWS_STACK", stack.name)
    stack_file(stack.name).parent.mkdir(parents=True)
    stack_file(stack.name).write_text(stack.model_dump_json())
    return stack


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        make_task(tmp_path / "dataset", name, toml=TOML)
    return tmp_path / "dataset"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capfd)


def go(stack: Stack, job: str, *, minutes: float, peak_memory_mib: int = 1000, only: int | None = None) -> None:
    """Give the job's trials results whose pods were billed for so long, and used little."""
    store = ObjectStore.of(stack)
    for trial in load_plan(store, job)[:only]:
        pod = PodUsage(
            name="pod",
            role="agent",
            cpu_millis=4000,
            memory_mib=12 * 1024,
            created_at=BEGAN,
            scheduled_at=BEGAN,
            running_at=BEGAN,
            ended_at=BEGAN + timedelta(minutes=minutes),
            peak_memory_mib=peak_memory_mib,
            cpu_seconds=5,
        )
        result = CommittedResult(
            trial=trial.trial,
            attempt=1,
            attempt_id="01",
            archive="",
            worker="w",
            committed_at=BEGAN,
            rewards={"reward": 1},
            pods=[pod],
            consumed=None,
            result={"agent_info": {"name": "nop"}},
        )
        store.put(result_key(job, trial.trial), result.model_dump_json().encode())


def begin(stack: Stack, job: str) -> None:
    """Let a worker have the last of the job's trials."""
    store = ObjectStore.of(stack)
    trial = load_plan(store, job)[-1].trial
    state = TrialState(trial=trial, phase=Phase.AGENT, attempt=1, worker="w", since=BEGAN)
    store.put(state_key(job, trial), state.model_dump_json().encode())


def test_a_price_needs_no_stack(dataset: Path, tmp_path: Path, command: Command) -> None:
    """By hand: 2 tasks, 3 attempts, 2 agents are 12 pods of an hour; a new account runs one of 4 vCPU at a time."""
    agents = [{"name": "nop"}, {"name": "oracle"}]
    (tmp_path / "job.json").write_text(json.dumps({"datasets": [{"path": str(dataset)}], "agents": agents}))
    found = command.json("estimate", "-c", "job.json", "-k", "3")
    assert (found["trials"], found["tasks"]) == (12, 2)
    assert [(size["vcpus"], size["memory_gb"], size["pods"]) for size in found["sizes"]] == [(4, 12, 12)]
    assert found["at_most"]["pods_usd"] == pytest.approx(12 * USD)
    assert found["at_most"]["consumption"]["vcpu_hours"] == pytest.approx(48)
    assert (found["about"], found["unbounded"]) == (None, 0)
    assert (found["vcpus"], found["at_most"]["trials_at_once"]) == (6, 1)
    assert found["at_most"]["seconds"] > 12 * 3560
    assert "what AWS gives a new account" in found["vcpus_source"]
    text = command("estimate", str(dataset), "-a", "nop", "--max-vcpus", "100")
    assert "2 trials of 2 tasks, 2 pods" in text
    assert "100 vCPUs of trials, as --max-vcpus says" in text
    assert "us-east-1" in text


def test_more_at_once_is_sooner_and_costs_workers_only(dataset: Path, command: Command) -> None:
    """--concurrency bounds what --max-vcpus would let."""
    arguments = ("estimate", str(dataset), "-k", "10", "-a", "nop", "--max-vcpus", "1000")
    quota, five = command.json(*arguments), command.json(*arguments, "--concurrency", "5")
    assert (quota["at_most"]["trials_at_once"], five["at_most"]["trials_at_once"]) == (20, 5)
    assert quota["at_most"]["seconds"] * 3 < five["at_most"]["seconds"]
    assert quota["at_most"]["pods_usd"] == five["at_most"]["pods_usd"]


def test_as_earlier_runs_went(moto: Stack, dataset: Path, command: Command) -> None:
    """Once a job has run, the same tasks are expected to take as long, and one that is new as long as those."""
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "first", "-k", "3")
    go(moto, "first", minutes=6)
    make_task(dataset, "three", toml=TOML)
    found = command.json("estimate", str(dataset), "-a", "nop")
    assert found["about"]["pods_usd"] == pytest.approx(3 * USD / 10)
    assert found["at_most"]["pods_usd"] == pytest.approx(3 * USD)
    assert (found["runs"], found["jobs"]) == (6, ["first"])
    assert {times["task"]: times["runs"] for times in found["task_times"]} == {"one": 3, "two": 3, "three": 0}
    assert command.json("estimate", str(dataset), "-a", "oracle")["about"] is None
    like = command.json("estimate", str(dataset), "-a", "oracle", "--like", "first")
    assert like["about"]["pods_usd"] == pytest.approx(3 * USD / 10)
    text = command("estimate", str(dataset), "-a", "nop")
    assert "1 task was never run, and is taken to be like the others" in text


def test_a_job_is_what_is_left_of_it(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """A plain name is a job's; what has a result is not run again, and says how long the rest will take."""
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "half", "-k", "4")
    go(moto, "half", minutes=6, only=6)
    found = command.json("estimate", "half")
    assert (found["trials"], found["at_most"]["consumption"]["pods"]) == (2, 2)
    assert found["at_most"]["pods_usd"] == pytest.approx(2 * USD)
    assert found["about"]["pods_usd"] == pytest.approx(2 * USD / 10)
    assert found["spent"]["trials_not_counted"] == 6
    assert found == command.json("estimate", "--job", "half")
    begin(moto, "half")
    assert command.json("estimate", "half")["running"] == 1
    assert "1 of them runs now" in command("estimate", "half")
    go(moto, "half", minutes=6)
    assert "nothing is left to run" in command("estimate", "half")
    (tmp_path / "half").symlink_to(dataset)
    assert command.json("estimate", "half")["spent"] is None


def test_a_job_that_measured_nothing_yet_is_as_earlier_ones_went(moto: Stack, dataset: Path, command: Command) -> None:
    """And what it has measured itself is as it went itself, whatever went before."""
    for job in ("first", "now"):
        command("enqueue", str(dataset), "-a", "nop", "--job-name", job, "-k", "2")
    go(moto, "first", minutes=6)
    assert command.json("estimate", "now")["about"]["pods_usd"] == pytest.approx(4 * USD / 10)
    go(moto, "now", minutes=12, only=1)
    found = command.json("estimate", "now")
    assert (found["trials"], sorted(found["jobs"])) == (3, ["first", "now"])
    assert found["about"]["pods_usd"] == pytest.approx((1 * 12 + 2 * 6) / 60 * USD)


def test_a_task_without_a_network_has_a_price_without_a_stack(dataset: Path, command: Command) -> None:
    """Whatever registry its image is from: nobody knows yet where that is to be."""
    make_task(dataset, "alone", toml=TOML.replace("cpus = 4", 'cpus = 4\nnetwork_mode = "no-network"'))
    assert command.json("estimate", str(dataset), "-a", "nop")["trials"] == 3


def test_enqueue_says_what_it_will_cost(moto: Stack, dataset: Path, command: Command) -> None:
    """Before anything is sent with --dry-run, and when it is; as JSON all of it."""
    said = "2 pods (2 of 4 vCPU and 12 GB): at most $0.54 if every trial"
    assert said in command("enqueue", str(dataset), "-a", "nop", "--dry-run")
    assert said in command("enqueue", str(dataset), "-a", "nop", "--job-name", "first")
    go(moto, "first", minutes=6)
    assert "about $0.0" in command("enqueue", str(dataset), "-a", "nop", "--job-name", "second")
    found = command.json("enqueue", str(dataset), "-a", "nop", "--job-name", "third")["estimate"]
    assert found["about"]["pods_usd"] == pytest.approx(2 * USD / 10)


def test_a_size_that_fits(moto: Stack, dataset: Path, command: Command) -> None:
    """--right-size takes what three runs used; the plan says it, and workers admit it."""
    store = ObjectStore.of(moto)
    out = command("enqueue", str(dataset), "-a", "nop", "--job-name", "first", "-k", "3", "--right-size")
    assert "--right-size changes nothing" in out
    go(moto, "first", minutes=6)
    found = command.json("estimate", str(dataset), "-a", "nop", "--right-size")
    assert [(size["vcpus"], size["memory_gb"], size["pods"]) for size in found["sizes"]] == [(1, 2, 2)]
    assert {change["task"] for change in found["right_sized"]} == {"one", "two"}
    assert found["saved_usd"] == pytest.approx(2 * (USD - 0.04048 - 2 * 0.004445) / 10)
    out = command("enqueue", str(dataset), "-a", "nop", "--job-name", "fitting", "-k", "2", "--right-size")
    assert "2 tasks have other sizes than asked for (--right-size): $0.0" in out
    plan = load_plan(store, "fitting")
    overrides = {"override_cpus": 1, "override_memory_mb": 2 * 1024 - 256}
    for trial in plan:
        assert {key: trial.trial_config["environment"][key] for key in overrides} == overrides
        asyncio.run(Admission(store).check(trial.message("fitting")))


def test_a_verifier_that_asks_for_another_size_keeps_all_as_it_is(
    moto: Stack, tmp_path: Path, command: Command
) -> None:
    """An override would be for both pods, and what was used by either is no measure of the other."""
    verifier = "[verifier.environment]\ndocker_image = 'debian:bookworm'\ncpus = 4\nmemory_mb = "
    for name, memory_mb in (("same", 12_000), ("another", 1000)):
        make_task(tmp_path / name, "task", toml=f"{TOML}{verifier}{memory_mb}\n")
        command("enqueue", str(tmp_path / name), "-a", "nop", "--job-name", f"first-{name}", "-k", "3")
        go(moto, f"first-{name}", minutes=6)
        found = command.json("estimate", str(tmp_path / name), "-a", "nop", "--right-size")
        assert bool(found["right_sized"]) == (name == "same")


def test_sizes_that_somebody_chose_stay(moto: Stack, dataset: Path, command: Command) -> None:
    """By an override of the job; and without --right-size nothing changes."""
    store = ObjectStore.of(moto)
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "first", "-k", "3")
    go(moto, "first", minutes=6)
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "own", "--right-size", "--override-cpus", "2")
    assert [trial.trial_config["environment"]["override_cpus"] for trial in load_plan(store, "own")] == [2, 2]
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "plain")
    assert all("override_cpus" not in trial.trial_config["environment"] for trial in load_plan(store, "plain"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say what to run"),
        (["--job", "x"], "The job 'x' is a stack's: say which with --stack"),
        (["dataset", "--job", "x"], "--job x and dataset both say what to estimate"),
        (["dataset", "--concurrency", "many"], "--concurrency is a number of trials or 'quota', and not 'many'"),
        (["dataset", "--like", "x"], "--like and --right-size look at a stack's earlier jobs"),
        (["dataset", "--stack", "missing"], "There is no stack 'missing'"),
        (["dataset", "--stream"], "--stream: there is no machine to stream to"),
        (["dataset", "-a", "nobody"], "There is no agent 'nobody'"),
    ],
)
def test_what_cannot_be_estimated(dataset: Path, command: Command, arguments: list[str], message: str) -> None:
    """One line that says what to do."""
    assert message in command("estimate", *arguments, code=2)


def test_a_job_takes_no_flags_of_a_run(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """It is planned already; one that is not there is an error."""
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "first")
    assert "leave out n_attempts" in command("estimate", "first", "-k", "3", code=2)
    assert "There is no job 'missing'" in command("estimate", "--job", "missing", code=2)
    (tmp_path / "registry.json").write_text("[]")
    err = command("estimate", "missing", "--registry-path", "registry.json", code=1)
    assert f"The stack {moto.name!r} has no job 'missing'. The dataset missing was not found" in err


def test_a_stack_that_is_away_is_no_reason_to_say_nothing(moto: Stack, dataset: Path, command: Command) -> None:
    """Unless its runs were asked for."""
    gone = moto.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    stack_file(moto.name).write_text(gone.model_dump_json())
    assert command.json("estimate", str(dataset), "-a", "nop")["at_most"]["pods_usd"] == pytest.approx(2 * USD)
    command("estimate", str(dataset), "-a", "nop", "--like", "first", code=1)
