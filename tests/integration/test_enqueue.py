"""Enqueueing against the real wire protocols of SQS and S3."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from harbor.models.job.config import JobConfig
from harbor.models.job.lock import JobLock
from tests.integration.moto_stack import make_stack, moto_server
from tests.integration.producer_command import Command
from tests.integration.producer_fakes import FakeWorker
from tests.tiny_tasks import IMAGE_TOML, make_task
from tests.unit.producer.letter_fakes import KilledError

from harbor_aws.infra.errors import TransientError, UsageError
from harbor_aws.infra.layout import PLAN_NAME, job_key, result_key, state_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import OutgoingMessage, Queue
from harbor_aws.infra.stack import stack_file
from harbor_aws.producer import enqueue, sent
from harbor_aws.producer.enqueue import InterruptedSendError, send
from harbor_aws.producer.jobs import JobsReader
from harbor_aws.producer.overview import JobReader
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.sent import held_note
from harbor_aws.producer.state import Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.message import TrialMessage

# Harbor's own, about what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def moto(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A fresh stack, which the commands find under its name."""
    stack = make_stack(server, kubeconfig=tmp_path / "no-cluster")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HARBOR_AWS_STACK", stack.name)
    monkeypatch.setenv("COLUMNS", "200")
    stack_file(stack.name).parent.mkdir(parents=True)
    stack_file(stack.name).write_text(stack.model_dump_json())
    monkeypatch.chdir(tmp_path)
    return stack


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name in ("one", "two", "three"):
        make_task(tmp_path / "dataset", name)
    return tmp_path / "dataset"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capfd)


def test_a_dataset_becomes_messages(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """One message a trial, each running from the bucket alone; config, lock and plan are there; bundles go up once."""
    store, queue = ObjectStore.of(moto), Queue.trials(moto)
    out = command("enqueue", str(dataset), "-a", "nop", "-k", "5", "--job-name", "nightly", "--attempts", "7")
    assert "Job nightly: 15 trials of 3 tasks are in the queue." in out
    assert "harbor-aws status nightly --watch" in out
    assert queue.counts().visible == 15
    bundles = {row.key: row.modified for row in store.list("tasks/")}
    assert len(bundles) == 3
    messages = [message for _ in range(3) for _, message in FakeWorker(moto, tmp_path).receive()]
    plan = load_plan(store, "nightly")
    assert sorted(message.trial for message in messages) == sorted(trial.trial for trial in plan)
    assert {message.attempts for message in messages} == {7}
    config = JobConfig.model_validate_json(store.get(job_key("nightly", "config.json")) or b"")
    assert (config.job_name, config.n_attempts, config.agents[0].name) == ("nightly", 5, "nop")
    assert len(JobLock.model_validate_json(store.get(job_key("nightly", "lock.json")) or b"").trials) == 15
    command("enqueue", str(dataset), "-a", "nop", "--job-name", "again")
    assert {row.key: row.modified for row in store.list("tasks/")} == bundles


def test_a_name_is_taken_once(moto: Stack, dataset: Path, command: Command) -> None:
    """A second job of the same name is refused before anything is sent."""
    command("enqueue", str(dataset), "--job-name", "mine")
    err = command("enqueue", str(dataset), "--job-name", "mine", code=2)
    assert err.strip().startswith("Error: There is a job 'mine' on this stack already")
    assert Queue.trials(moto).counts().visible == 3


def test_nothing_is_sent_if_a_task_cannot_run(moto: Stack, dataset: Path, command: Command) -> None:
    """One offending task keeps the whole job back, and leaves no trace; --skip-unsupported sends the rest."""
    make_task(dataset, "graphics", toml=IMAGE_TOML + "gpus = 1\n")
    err = command("enqueue", str(dataset), "--job-name", "j", code=2)
    assert "1 of 4 tasks cannot run here" in err
    assert "graphics: its environment needs 1 GPU(s)" in err
    assert list(ObjectStore.of(moto).list("")) == []
    assert Queue.trials(moto).counts().total == 0
    out = json.loads(command("enqueue", str(dataset), "--job-name", "j", "--skip-unsupported", "--json"))
    assert (out["sent"], [line.partition(":")[0] for line in out["skipped"]]) == (3, ["graphics"])


def test_a_task_that_asks_for_no_network(moto: Stack, dataset: Path, command: Command) -> None:
    """It is refused on a stack that would give it one, and taken on one that enforces that."""
    make_task(dataset, "alone", toml=IMAGE_TOML + 'network_mode = "no-network"\n')
    err = command("enqueue", str(dataset), "--job-name", "j", code=2)
    assert "asks for network_mode 'no-network', which this stack does not enforce" in err
    assert Queue.trials(moto).counts().visible == 0
    stack_file(moto.name).write_text(moto.model_copy(update={"isolation": "namespace"}).model_dump_json())
    command("enqueue", str(dataset), "--job-name", "j")
    assert Queue.trials(moto).counts().visible == 4


def test_a_dry_run_leaves_no_trace(moto: Stack, dataset: Path, command: Command) -> None:
    """--dry-run says what would be sent."""
    assert "3 trials of 3 tasks can run; nothing was enqueued" in command("enqueue", str(dataset), "--dry-run")
    assert list(ObjectStore.of(moto).list("")) == []
    assert Queue.trials(moto).counts().total == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "8"], "--n-concurrent: how many run at once is workers × slots; use `harbor-aws scale N`"),
        (["--upload", "--stream"], "--stream: there is no machine to stream to"),
        (["--env-file", "x"], "--env-file: values would have to travel through the queue"),
        (["-e", "docker"], "--env docker: trials run in harbor_aws.worker.environment:FargateEnvironment"),
        (["--mounts", "[]"], "--mounts: a pod sees no directory of this machine"),
        (["--skill", "x"], "--skill: a worker sees no directory"),
        (["--ak", "novalue"], "Invalid kwarg format: novalue"),
        (["-c", "nowhere.yaml"], "nowhere.yaml"),
        (["-d", "other@1"], "both say what to run"),
        (["--ek", "colour=blue"], "Unknown environment option(s) --ek colour"),
        (["--ae", "MY_API_KEY=sk-123"], "--ae MY_API_KEY=… holds a secret"),
        (["--stack", "nowhere"], "There is no stack 'nowhere'"),
        (["-k", "0"], "n_attempts"),
    ],
)
def test_flags_that_make_no_sense_are_refused_by_name(
    moto: Stack, dataset: Path, command: Command, arguments: list[str], message: str
) -> None:
    """Each with its name and what to do instead, in a line that starts with Error, and exit code 2."""
    err = command("enqueue", str(dataset), *arguments, code=2)
    assert err.startswith("Error: "), err
    assert message in err
    assert "Traceback" not in err


def test_no_dataset_and_no_such_job(moto: Stack, tmp_path: Path, command: Command) -> None:
    """What is missing is said."""
    assert "Say what to run" in command("enqueue", code=2)
    assert "There is no directory" in command("enqueue", "./nowhere", code=2)
    assert "There is no job 'x'" in command("enqueue", "--resume", "x", code=2)
    assert "There is no job 'x'" in command("status", "x", code=2)
    assert "There is no job 'x'" in command("fetch", "x", code=2)
    assert "--resume takes a job as it was planned" in command("enqueue", "--resume", "x", "-a", "nop", code=2)


class CutQueue(Queue):
    """A queue whose connection is cut, or whose user presses Ctrl-C, after some batches."""

    def __init__(self, queue: Queue, *, batches: int, error: BaseException) -> None:
        super().__init__(queue._client, url=queue.url)
        self._batches = batches
        self._error = error

    def send(self, messages: Sequence[OutgoingMessage]) -> None:  # type: ignore[override]  # without its retries
        if self._batches == 0:
            raise self._error
        self._batches -= 1
        super().send(messages)


@pytest.mark.parametrize("error", [TransientError("SQS did not answer"), KeyboardInterrupt()], ids=["cut", "ctrl-c"])
def test_an_interrupted_enqueue_is_continued(
    moto: Stack, dataset: Path, command: Command, error: BaseException
) -> None:
    """It says how many were sent and how to go on; going on sends exactly the rest, and again nothing."""
    queue = Queue.trials(moto)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queue, "trials", lambda _stack: CutQueue(queue, batches=2, error=error))
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        err = command("enqueue", str(dataset), "-a", "nop", "-k", "20", "--job-name", "cut", code=code)
    assert "20 of 60 trials are in the queue and will run" in err
    assert "harbor-aws enqueue --resume cut" in err
    assert queue.counts().visible == 20
    assert "40 trials that had not been sent" in command("enqueue", "--resume", "cut")
    assert queue.counts().visible == 60
    assert "0 trials that had not been sent" in command("enqueue", "--resume", "cut")


def test_a_crash_without_a_note_loses_nothing(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """Without the note, trials that have a state or a result are not sent again, and all others are."""
    store = ObjectStore.of(moto)
    command("enqueue", str(dataset), "-a", "nop", "-k", "10", "--job-name", "crash")
    FakeWorker(moto, tmp_path).drain(limit=10)
    store.put(job_key("crash", "sent.json"), b"[]")
    assert "20 trials that had not been sent" in command("enqueue", "--resume", "crash")


class MortalStore(ObjectStore):
    """The bucket of a process that is killed: no more notes than these get there."""

    notes = 0

    def put_if_unchanged(self, key: str, body: bytes, *, etag: str | None) -> str | None:
        if not self.notes:
            raise KilledError
        self.notes -= 1
        return super().put_if_unchanged(key, body, etag=etag)


def test_killed_while_sending_little_is_sent_twice(
    moto: Stack, dataset: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 going on sends the rest, and of what was sent only what no note tells of."""
    monkeypatch.setattr(enqueue, "LEAST_BETWEEN_NOTES", 20)
    monkeypatch.setattr(sent, "WATCH_SECONDS", 0)
    store, queue = MortalStore.of(moto), Queue.trials(moto)
    command("enqueue", str(dataset), "-a", "nop", "-k", "20", "--job-name", "killed")
    store.put(job_key("killed", "sent.json"), b"[]")
    store.notes = 3
    killed = CutQueue(queue, batches=5, error=KilledError())
    with pytest.raises(KilledError):
        send(store, killed, "killed", load_plan(store, "killed"), advance=lambda: None)
    assert queue.counts().visible == 60 + 50
    assert "20 trials that had not been sent" in command("enqueue", "--resume", "killed")


def test_a_job_is_sent_by_one_command_at_a_time(
    moto: Stack, dataset: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--resume while the first enqueue sends is refused, and sends nothing."""
    store, queue = ObjectStore.of(moto), Queue.trials(moto)
    command("enqueue", str(dataset), "--job-name", "busy")
    with held_note(store, "busy") as note:

        def go_on(_seconds: float) -> None:
            note.sent.add("another")
            note.write()

        monkeypatch.setattr("time.sleep", go_on)
        err = command("enqueue", "--resume", "busy", code=1)
    assert "Another enqueue of the job 'busy' is sending its trials" in err
    assert queue.counts().visible == 3
    assert "0 trials that had not been sent" in command("enqueue", "--resume", "busy")


def test_an_enqueue_cut_before_its_plan_was_complete(moto: Stack, dataset: Path, command: Command) -> None:
    """A job whose configuration is missing was never sent; it says so."""
    store = ObjectStore.of(moto)
    store.put(job_key("half", PLAN_NAME), b"")
    assert "interrupted before anything was sent" in command("enqueue", "--resume", "half", code=2)
    assert "There is a job 'half'" in command("enqueue", str(dataset), "--job-name", "half", code=2)


def test_sending_says_what_was_sent(moto: Stack, dataset: Path, command: Command) -> None:
    """The error carries how many of how many."""
    store, queue = ObjectStore.of(moto), Queue.trials(moto)
    command("enqueue", str(dataset), "-k", "10", "--job-name", "counted")
    cut = CutQueue(queue, batches=1, error=TransientError("SQS did not answer"))
    with pytest.raises(InterruptedSendError) as interrupted:
        send(store, cut, "counted", load_plan(store, "counted"), advance=lambda: None)
    assert (interrupted.value.sent, interrupted.value.total) == (10, 30)


def test_a_job_whose_sending_cannot_begin(
    moto: Stack, dataset: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is taken by then, so the error says how to go on."""
    store, queue = ObjectStore.of(moto), Queue.trials(moto)
    command("enqueue", str(dataset), "--job-name", "unlucky")

    def fail(*_: object, **__: object) -> None:
        raise TransientError("S3 did not answer")

    monkeypatch.setattr(store, "put_if_unchanged", fail)
    with pytest.raises(InterruptedSendError, match=r"0 of 3 trials .* enqueue --resume unlucky"):
        send(store, queue, "unlucky", load_plan(store, "unlucky"), advance=lambda: None)


def test_a_job_and_its_list(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """status shows the jobs, newest first, and one job's phases; both add up, as text and as JSON."""
    command("enqueue", str(dataset), "-a", "nop", "-k", "5", "--job-name", "older")
    command("enqueue", str(dataset), "-a", "nop", "-k", "5", "--job-name", "newer")
    worker = FakeWorker(moto, tmp_path)
    worker.drain(limit=10, is_dead=lambda message: message.trial.startswith("two"))
    listed = json.loads(command("status", "--json"))
    assert sorted(job["job"] for job in listed["jobs"]) == ["newer", "older"]
    parts = ("queued", "begun", "committed", "dead")
    assert all(job["trials"] == sum(job[part] for part in parts) == 15 for job in listed["jobs"])
    assert listed["stack"]["queue"]["visible"] == 20
    assert sum(job["committed"] + job["dead"] for job in listed["jobs"]) == 10
    for job in listed["jobs"]:
        shown = json.loads(command("status", job["job"], "--json"))
        assert [shown["phases"].get(part, 0) for part in parts] == [job[part] for part in parts]
        assert sum(shown["phases"].values()) == shown["trials"] == 15
        assert {trial["reason"] for trial in shown["dead"]} <= {"PodStartError: no such image"}
    text = command("status", "older")
    assert "older: " in text
    assert "Queue: 20 waiting" in text
    assert "older" in command("status")


def test_jobs_are_listed_newest_first(moto: Stack, dataset: Path) -> None:
    """By the time at which they were enqueued, not by name, and no more than asked for."""
    store = ObjectStore.of(moto)
    reader = JobsReader(store)
    assert reader.read(limit=5) == []
    store.put(job_key("zebra", PLAN_NAME), b"{}\n")
    store.put("jobs/stray/other", b"")
    time.sleep(1.1)  # moto's times are whole seconds
    store.put(job_key("ape", PLAN_NAME), b"{}\n{}\n")
    assert [(job.job, job.trials) for job in reader.read(limit=5)] == [("ape", 2), ("zebra", 1)]
    assert [job.job for job in reader.read(limit=1)] == ["ape"]


def test_a_job_in_the_list_by_the_phases_of_its_trials(moto: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that was put back is queued; one whose state this version cannot read has begun at least. A second look
    reads what is new."""
    store = ObjectStore.of(moto)
    store.put(job_key("job", PLAN_NAME), b"{}\n" * 9)
    phases = [Phase.QUEUED, Phase.AGENT, Phase.RETRYING, Phase.HANDED_BACK, Phase.DEAD, Phase.DEAD]
    for number, phase in enumerate(phases):
        trial = f"t{number}"
        state = TrialState(trial=trial, phase=phase, attempt=1, worker="w", since=datetime.now(UTC))
        store.put(state_key("job", trial), state.model_dump_json().encode())
    store.put(state_key("job", "t6"), b'{"phase": "of another version"}')
    store.put(state_key("job", "t7"), state.model_dump_json().encode())
    store.put(result_key("job", "t7"), b"{}")
    reads: list[str] = []
    get = store.get

    def noted_get(key: str) -> bytes | None:
        reads.append(key)
        return get(key)

    monkeypatch.setattr(store, "get", noted_get)
    reader = JobsReader(store)
    (job,) = reader.read(limit=5)
    assert (job.trials, job.queued, job.begun, job.committed, job.dead) == (9, 2, 4, 1, 2)
    reads.clear()
    store.put(state_key("job", "t1"), state.model_dump_json().encode())
    (job,) = reader.read(limit=5)
    assert (job.begun, job.dead) == (3, 3)
    assert [key for key in reads if "/states/" in key] == [state_key("job", "t1")]


def test_a_resumed_job_is_read_as_one(moto: Stack, dataset: Path, command: Command) -> None:
    """The state of a job before any worker: all queued."""
    command("enqueue", str(dataset), "--job-name", "fresh")
    assert JobReader(ObjectStore.of(moto), "fresh").read().phases == {"queued": 3}
    with pytest.raises(UsageError):
        JobReader(ObjectStore.of(moto), "stale")


class Fleet:
    """A worker in a thread of its own, until it has nothing to do for a while."""

    def __init__(self, worker: FakeWorker, *, is_dead: Callable[[TrialMessage], bool] = lambda _message: False) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(worker, is_dead))

    def _work(self, worker: FakeWorker, is_dead: Callable[[TrialMessage], bool]) -> None:
        while not self._stop.wait(0.2):
            worker.drain(is_dead=is_dead)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()


def test_waiting_for_a_job(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """--wait follows, fetches into --jobs-dir and prints Harbor's own table; 0 if every trial has a result."""
    with Fleet(FakeWorker(moto, tmp_path)):
        out = command("enqueue", str(dataset), "-a", "nop", "--job-name", "all", "-o", "results", "--wait")
    assert "dataset • nop" in out
    assert f"Results in {tmp_path}/results/all" in out
    assert len(list((tmp_path / "results/all").glob("*/result.json"))) == 3


def test_waiting_for_a_job_with_dead_letters(moto: Stack, dataset: Path, tmp_path: Path, command: Command) -> None:
    """A dead letter ends the waiting too: what there is is fetched and shown, and the exit code is 1."""
    fleet = Fleet(FakeWorker(moto, tmp_path), is_dead=lambda message: message.trial.startswith("two"))
    with fleet:
        err = command("enqueue", str(dataset), "-a", "nop", "--job-name", "some", "--wait", code=1)
    assert "1 of 3 trials are dead letters: `harbor-aws status some` says why." in err
    err = command("status", "some", "--watch", code=1)
    assert "1 of 3 trials is a dead letter: `harbor-aws dlq list --job some` says why." in err
    shown = json.loads(command("status", "some", "--json"))
    assert shown["phases"] == {"committed": 2, "dead": 1}
    fetched = json.loads(command("fetch", "some", "--json"))
    assert (fetched["fetched"], fetched["present"], fetched["trials"]) == (0, 2, 3)
    assert "0 new, 2 of 3 results in" in command("fetch", "some")
