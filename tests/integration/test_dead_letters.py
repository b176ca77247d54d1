"""The dead-letter queue through the commands, on SQS's wire protocol; and the whole way there and back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.moto_stack import make_stack, moto_server
from tests.integration.producer_fakes import FakeWorker
from tests.tiny_tasks import make_task

from harbor_aws.infra.aws import s3_client, sqs_client
from harbor_aws.infra.layout import PLAN_NAME, bundle_key, job_key, result_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import OutgoingMessage, Queue
from harbor_aws.infra.stack import Stack, stack_file
from harbor_aws.producer import cli
from harbor_aws.producer.celery_message import encode
from harbor_aws.producer.dead_letters.sweep import HIDE_SECONDS
from harbor_aws.producer.planfile import PlannedTrial, dump_plan, load_plan
from harbor_aws.producer.state import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import RunningStack

JOB = "nightly"
LETTERS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


class Bench:
    """A stack with a planned job, its dead letters, and the commands."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.stack = stack
        self.store = ObjectStore.of(stack)
        self.dead_letters = Queue.dead_letters(stack)
        self.trials = Queue.trials(stack)
        self.planned = [
            PlannedTrial(trial=f"t{number}", task="t", bundle="0" * 64, trial_config={}, attempts=3)
            for number in range(LETTERS)
        ]
        self._bodies = {planned.trial: encode(planned.message(JOB)) for planned in self.planned}
        self.store.put(job_key(JOB, PLAN_NAME), dump_plan(self.planned))
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def body(self, trial: str) -> str:
        return self._bodies[trial]

    def die(self, *trials: str, cause: str = "PodStartError") -> None:
        attributes = {"cause": cause, "reason": f"{cause} it was", "worker": "w1"}
        for start in range(0, len(trials), 10):
            batch = trials[start : start + 10]
            self.dead_letters.send([OutgoingMessage(self.body(trial), attributes) for trial in batch])

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What ``harbor-aws dlq`` printed on stdout, or on stderr if it was to fail."""
        return self.run("harbor-aws", "dlq", *arguments, code=code)

    def run(self, *arguments: str, code: int = 0) -> str:
        self._monkeypatch.setattr("sys.argv", list(arguments))
        with pytest.raises(SystemExit) as ended:
            (cli.replay_main if arguments[0] == "harbor-aws-replay" else cli.main)()
        out, err = self._capfd.readouterr()
        assert (ended.value.code or 0) == code, out + err
        return err if code and "--json" not in arguments else out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))

    def status(self) -> Any:
        """The job's trials by phase."""
        return json.loads(self.run("harbor-aws", "status", JOB, "--json"))["phases"]


@pytest.fixture
def bench(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Bench:
    """A fresh stack, which the commands find under its name; SQS gives a message up after two receives."""
    stack = make_stack(server, kubeconfig=tmp_path / "no-cluster", max_receive_count=2)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HARBOR_AWS_STACK", stack.name)
    monkeypatch.setenv("COLUMNS", "200")
    stack_file(stack.name).parent.mkdir(parents=True)
    stack_file(stack.name).write_text(stack.model_dump_json())
    monkeypatch.chdir(tmp_path)
    return Bench(stack, monkeypatch, capfd)


def test_listing_loses_and_hides_nothing(bench: Bench) -> None:
    """Every letter once, and all are visible right after; again and again, with the same ids."""
    bench.die(*[planned.trial for planned in bench.planned])
    looks = [bench.json("list")["letters"] for _ in range(2)]
    for letters in looks:
        assert Counter(letter["trial"] for letter in letters) == {planned.trial: 1 for planned in bench.planned}
    assert {letter["id"] for letter in looks[0]} == {letter["id"] for letter in looks[1]}
    counts = bench.dead_letters.counts()
    assert (counts.visible, counts.in_flight) == (LETTERS, 0)


def test_a_table_and_its_filters(bench: Bench) -> None:
    """Ids, trials, causes and reasons; by job, cause and age."""
    assert "No dead letters." in bench("list")
    bench.die("t1")
    bench.die("t2", "t3", cause="PodGoneError")
    table = bench("list")
    for word in ("3 dead letters", "t1", "t2", "PodStartError it was", "2 × PodGoneError"):
        assert word in table
    assert "t1" not in bench("list", "--cause", "PodGoneError")
    assert "No dead letters." in bench("list", "--job", "other")
    assert len(bench.json("list", "--since", "1h")["letters"]) == 3
    assert "is not a time such as" in bench("list", "--since", "soon", code=2)


def test_one_letter_whole(bench: Bench) -> None:
    """By the beginning of its id: what is known, and the original message."""
    bench.die("t1")
    bench.store.put(result_key(JOB, "t1"), b"{}")
    (letter,) = bench.json("list")["letters"]
    shown = bench.json("show", letter["id"][:6])
    assert (shown["body"], shown["message"]["trial"], shown["committed"]) == (bench.body("t1"), "t1", True)
    text = bench("show", letter["id"][:6])
    assert "PodStartError it was" in text
    assert "committed" in text
    assert "no dead letter 'zz'" in bench("show", "zz", code=2)


def test_what_sqs_moved_is_recognised(bench: Bench, tmp_path: Path) -> None:
    """A message that was received too often has no reason of its own: it gets one, and status counts it as dead."""
    bench.trials.send([OutgoingMessage(bench.body("t1"))])
    worker = FakeWorker(bench.stack, tmp_path)
    for _ in range(2):
        ((receipt, message),) = worker.receive()
        worker.write_state(message, Phase.AGENT)
        sqs_client(bench.stack).change_message_visibility(
            QueueUrl=bench.stack.queue_url, ReceiptHandle=receipt, VisibilityTimeout=0
        )
    assert worker.receive() == []
    (letter,) = bench.json("list", "--cause", "WorkerDied")["letters"]
    assert (letter["trial"], letter["worker"], letter["moved_by_sqs"]) == ("t1", "fake", True)
    assert "phase agent" in letter["reason"]
    assert bench.status() == {"dead": 1, "queued": LETTERS - 1}
    bench("replay", "--cause", "WorkerDied")
    ((_, message),) = worker.receive()
    assert (message.trial, message.replay, message.history[0].cause) == ("t1", 1, "WorkerDied")
    assert bench.status() == {"queued": LETTERS}


def test_replay_by_its_own_name(bench: Bench) -> None:
    """``harbor-aws-replay`` moves what was chosen, says so, and ends with 1 if something cannot be replayed."""
    bench.die("t1", "t2", "t3")
    bench.dead_letters.send([OutgoingMessage("hello", {"cause": "UndecodableMessageError", "reason": "x"})])
    assert "Say which dead letters" in bench.run("harbor-aws-replay", code=2)
    assert "--all means every" in bench.run("harbor-aws-replay", "--all", "--job", JOB, code=2)
    plan = bench.run("harbor-aws-replay", "--job", JOB, "--dry-run")
    assert "3 dead letters" in plan
    assert bench.trials.counts().total == 0
    ids = [letter["id"] for letter in bench.json("list", "--job", JOB)["letters"]]
    out = bench.run("harbor-aws-replay", ids[0][:8], "--rate", "2/s", "--attempts", "5")
    assert "1 in the queue again." in out
    report = bench.json("replay", "--all", code=1)
    assert (sorted(report["replayed"]), len(report["refused"])) == (sorted(ids[1:]), 1)
    assert (bench.trials.counts().visible, bench.dead_letters.counts().visible) == (3, 1)


def test_a_committed_trial_is_not_replayed(bench: Bench) -> None:
    """Its letter goes, with a note."""
    bench.die("t1")
    bench.store.put(result_key(JOB, "t1"), b"{}")
    assert "1 had a result already; the letter was deleted." in bench("replay", "--all")
    assert (bench.trials.counts().total, bench.dead_letters.counts().total) == (0, 0)


def test_export_and_purge(bench: Bench, tmp_path: Path) -> None:
    """Everything goes into the file and stays in the queue; a purge asks, and deletes what was chosen alone."""
    bench.die("t1", "t2")
    bench.die("t3", cause="PodGoneError")
    bench("export", "letters.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert sorted(line["body"] for line in lines) == sorted(bench.body(trial) for trial in ("t1", "t2", "t3"))
    assert bench.dead_letters.counts().visible == 3
    assert len(bench("export", "-", "--cause", "PodGoneError").splitlines()) == 1
    assert "cannot be written" in bench("export", "no/such/directory", code=2)
    assert "deletes 3 dead letters for good; say --yes" in bench("purge", "--all", code=2)
    assert bench.json("purge", "--cause", "PodGoneError", "--yes")["purged"] == 1
    assert "2 dead letters are deleted." in bench("purge", "--all", "--yes")
    assert "0 dead letters are deleted." in bench("purge", "--all")


def test_ctrl_c_gives_everything_back(bench: Bench) -> None:
    """A listing that is interrupted at any moment leaves nothing hidden, and ends with 130."""
    bench.die(*[planned.trial for planned in bench.planned])
    codes: list[int] = []
    while 130 not in codes and len(codes) < 10:  # it may have ended just before it was interrupted
        listing = start("list")
        while bench.dead_letters.counts().in_flight == 0 and listing.poll() is None:
            time.sleep(0.005)
        listing.send_signal(signal.SIGINT)
        codes.append(listing.wait(60))
        assert bench.dead_letters.counts().visible == LETTERS
    assert set(codes) <= {0, 130}
    assert codes[-1] == 130


@pytest.mark.slow
def test_a_replay_that_is_killed_is_finished_by_the_next(bench: Bench) -> None:
    """kill -9 in the middle, then the same command once what it held is visible again: each trial runs once."""
    bench.die(*[planned.trial for planned in bench.planned])
    replaying = start("replay", "--all")
    while bench.trials.counts().visible < LETTERS // 4:
        assert replaying.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    replaying.kill()
    replaying.wait()
    deadline = time.monotonic() + HIDE_SECONDS + 15
    while bench.dead_letters.counts().in_flight and time.monotonic() < deadline:
        time.sleep(0.5)
    bench("replay", "--all")
    assert bench.dead_letters.counts().total == 0
    messages = receive_all(bench.trials)
    markers = {row.key for row in bench.store.list(f"jobs/{JOB}/replays/")}
    assert len(markers) == LETTERS
    marked = {json.loads(bench.store.get(key) or b"")["message_id"] for key in markers}
    assert marked <= set(messages)


def receive_all(queue: Queue) -> list[str]:
    """The MessageIds of all that is in a queue."""
    found: list[str] = []
    while messages := queue.receive(count=10, hide_seconds=60):
        found += [message.message_id for message in messages]
    return found


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """``harbor-aws dlq`` as a process of its own, which heeds Ctrl-C wherever the tests are run."""
    program = "from harbor_aws.producer.cli import main; main()"
    heed = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    command = [sys.executable, "-c", program, "dlq", *arguments]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=heed)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_there_and_back(stack: RunningStack, tmp_path: Path) -> None:
    """A trial whose bundle is missing dies in a worker, is put back when the bundle is there again, and commits."""
    outputs = Stack.model_validate(stack.json("local", "status")["stack"])
    store, job = ObjectStore.of(outputs), f"dead-{uuid.uuid4().hex[:6]}"
    make_task(tmp_path / "dataset", "lost", files={"solution/solve.sh": f"#!/bin/bash\n# {job}\n"})
    stack.run("scale", "0")
    try:
        stack.run("enqueue", str(tmp_path / "dataset"), "-a", "oracle", "--job-name", job, timeout=100)
        key = bundle_key(load_plan(store, job)[0].bundle)
        bundle = store.get(key)
        assert bundle is not None
        s3_client(outputs).delete_object(Bucket=outputs.bucket, Key=key)
    finally:
        stack.run("scale", "2")
    wait_for_phase(stack, job, "dead")
    (letter,) = stack.json("dlq", "list", "--job", job)["letters"]
    shown = stack.json("dlq", "show", letter["id"][:8])
    assert [(each["attempt"], each["worker"]) for each in shown["details"]["attempts"]] == [(1, shown["worker"])]
    assert "Traceback" in shown["details"]["traceback"]
    store.put(key, bundle)
    assert len(stack.json("dlq", "replay", "--job", job)["replayed"]) == 1
    wait_for_phase(stack, job, "committed")
    assert stack.json("dlq", "list", "--job", job)["letters"] == []


def wait_for_phase(stack: RunningStack, job: str, phase: str) -> None:
    deadline = time.monotonic() + 90
    while True:
        phases = stack.json("status", job)["phases"]
        if phases == {phase: 1}:
            return
        assert time.monotonic() < deadline, phases
        time.sleep(0.5)
