"""Real worker processes on the real SQS wire protocol: what survives which failure."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import pytest

from harbor_aws.infra.aws import sqs_client
from harbor_aws.infra.queues import OutgoingMessage, Queue
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.celery_message import decode_envelope, encode
from harbor_aws.producer.message import TrialMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKER = Path(__file__).with_name("recording_worker.py")
VISIBILITY_SECONDS = 10
LEASE_SECONDS = 3


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A moto server of this module."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _listens(port), seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


class Bench:
    """Queues of one test, its workers, and what they recorded."""

    def __init__(self, endpoint: str, directory: Path) -> None:
        client = sqs_client(_stack(endpoint, "", ""))
        name = uuid4().hex[:8]
        self.stack = _stack(
            endpoint,
            client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "30"})["QueueUrl"],
            client.create_queue(QueueName=f"{name}-dead")["QueueUrl"],
        )
        self.client = client
        self.queue = Queue.trials(self.stack)
        self.directory = directory
        self.workers: list[subprocess.Popen[bytes]] = []
        self._record = directory / "record"
        self._record.touch()

    def send(self, *trials: str, **does: object) -> None:
        bodies = [encode(_message(trial, **does)) for trial in trials]
        for start in range(0, len(bodies), 10):
            self.queue.send([OutgoingMessage(body) for body in bodies[start : start + 10]])

    def start(
        self,
        *,
        slots: int = 8,
        drain_seconds: float = 1,
        visibility_seconds: int = VISIBILITY_SECONDS,
        stack: Stack | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it is ready to receive."""
        number = len(self.workers)
        stack_file = self.directory / f"stack-{number}.json"
        stack_file.write_text((stack or self.stack).model_dump_json())
        settings = {
            "HARBOR_AWS_SLOTS": str(slots),
            "HARBOR_AWS_DRAIN_SECONDS": str(drain_seconds),
            "HARBOR_AWS_VISIBILITY_TIMEOUT_SECONDS": str(visibility_seconds),
            "HARBOR_AWS_LEASE_INTERVAL_SECONDS": str(LEASE_SECONDS),
            "CELERY_BROKER_URL": "amqp://nobody@127.0.0.1:1//",
        }
        with (self.directory / f"log-{number}").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, str(WORKER), str(stack_file), str(self._record)],
                env={**os.environ, **settings},
                stderr=log,
            )
        self.workers.append(worker)
        wait_for(lambda: any(line["pid"] == worker.pid for line in self.events("opened")), seconds=60)
        return worker

    def through(self, proxy: Proxy) -> Stack:
        """The stack behind a proxy."""
        return self.stack.model_copy(update={"endpoint_url": proxy.url})

    def stop(self) -> list[int]:
        """SIGTERM all workers; their exit codes."""
        for worker in self.workers:
            worker.terminate()
        return [worker.wait(60) for worker in self.workers]

    def kill(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()

    def log(self, number: int = 0) -> str:
        return (self.directory / f"log-{number}").read_text()

    def events(self, event: str, trial: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._record.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] == event and trial in (None, line.get("trial"))]

    def wait_for_event(self, event: str, *, count: int = 1, trial: str | None = None, seconds: float = 60) -> None:
        wait_for(lambda: len(self.events(event, trial)) >= count, seconds=seconds)

    def wait_until_empty(self, seconds: float = 60) -> None:
        wait_for(lambda: self.queue.counts().total == 0, seconds=seconds)

    def dead_letters(self) -> list[tuple[str, str]]:
        """Bodies with their reasons."""
        answer = self.client.receive_message(
            QueueUrl=self.stack.dead_letter_queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return [
            (letter["Body"], letter["MessageAttributes"]["reason"]["StringValue"])
            for letter in answer.get("Messages", [])
        ]


@pytest.fixture
def make_bench(endpoint: str, tmp_path: Path) -> Iterator[Callable[[], Bench]]:
    """Makes benches of fresh queues, and leaves no worker of theirs."""
    benches: list[Bench] = []

    def make() -> Bench:
        directory = tmp_path / f"bench-{len(benches)}"
        directory.mkdir()
        benches.append(Bench(endpoint, directory))
        return benches[-1]

    yield make
    for bench in benches:
        bench.kill()
        for number in range(len(bench.workers)):
            print(f"--- {bench.directory.name}, worker {number}\n{bench.log(number)}")


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    """The one bench of a test."""
    return make_bench()


def test_every_message_runs_once(bench: Bench) -> None:
    """Sixty messages over two workers of eight slots: each is run once, the queue is empty, both exit with 0."""
    bench.start()
    bench.start()
    trials = [f"trial-{number}" for number in range(60)]
    bench.send(*trials, seconds=1)  # one worker alone would take eight seconds
    bench.wait_for_event("ended", count=60)
    bench.wait_until_empty()
    assert sorted(line["trial"] for line in bench.events("began")) == sorted(trials)
    assert len({line["pid"] for line in bench.events("ended")}) == 2
    assert bench.stop() == [0, 0]
    assert len(bench.events("closed")) == 2


def test_poison_is_quarantined(bench: Bench) -> None:
    """Whatever nobody can run ends in the dead-letter queue with its body and a reason, and the worker goes on."""
    poison = _poison()
    bench.queue.send([OutgoingMessage(body) for body in poison])
    worker = bench.start()
    bench.send("good")
    bench.wait_for_event("ended", trial="good")
    bench.wait_until_empty()
    letters: list[tuple[str, str]] = []
    wait_for(lambda: letters.extend(bench.dead_letters()) or len(letters) >= len(poison), seconds=20)  # type: ignore[func-returns-value]  # extend returns None on purpose
    reasons = dict(letters)
    assert reasons.keys() == poison.keys()
    for body, expected in poison.items():
        assert expected in reasons[body]
    assert worker.poll() is None


def test_foreign_headers_reach_nobody(bench: Bench) -> None:
    """Headers that would end Celery, and a configuration that kombu cannot read, run as if they were not there."""
    worker = bench.start()
    for number, headers in enumerate(({"timelimit": 5}, {"timelimit": [1]}, {"stamped_headers": 5}, {"shadow": 5})):
        envelope = decode_envelope(encode(_message(f"headers-{number}")))
        envelope["headers"].update(headers)
        bench.queue.send([OutgoingMessage(_base64(json.dumps(envelope)))])
    bench.send("configuration", env={"__type__": "uuid", "__value__": "none"})
    bench.send("good")
    bench.wait_for_event("ended", count=6)
    bench.wait_until_empty()
    assert worker.poll() is None
    assert bench.stop() == [0]
    assert bench.dead_letters() == []


def test_a_trial_is_not_run_twice_at_once(bench: Bench) -> None:
    """More messages of a trial that runs are put off, and other trials run meanwhile."""
    bench.start()
    bench.send("same", seconds=300)
    bench.wait_for_event("began")
    bench.send("same", "same")
    bench.send("other")
    bench.wait_for_event("ended", trial="other")
    wait_for(lambda: bench.log().count("was put off for 60 s") == 2, seconds=20)
    wait_for(lambda: bench.queue.counts().in_flight == 3, seconds=20)
    assert sorted(line["trial"] for line in bench.events("began")) == ["other", "same"]


def test_a_handler_that_raises_gets_its_message_again(bench: Bench) -> None:
    """A raising handler loses nothing: the message comes back after its back-off and is deleted once it ends."""
    bench.start()
    bench.send("flaky", fails=True)
    bench.wait_for_event("ended")
    bench.wait_until_empty()
    assert [line["receives"] for line in bench.events("began")] == [1, 2]
    assert bench.log().count("RuntimeError: This trial") == 1


def test_sigterm_hands_back_what_runs(bench: Bench) -> None:
    """After its drain a worker's trials are cancelled with `drain` and run elsewhere at once; it exits with 0."""
    first = bench.start(visibility_seconds=60)
    bench.send("long-1", "long-2", first_seconds=300)
    bench.wait_for_event("began", count=2)
    bench.start(visibility_seconds=60)
    first.terminate()
    assert first.wait(20) == 0
    bench.wait_for_event("ended", count=2, seconds=50)
    bench.wait_until_empty()
    assert [line["reason"] for line in bench.events("cancelled")] == ["drain", "drain"]
    assert {line["pid"] for line in bench.events("ended")} == {bench.workers[1].pid}


def test_what_ends_although_it_was_cancelled_is_not_handed_back(bench: Bench) -> None:
    """A trial that was recording its ending when the drain was over has it: the message is deleted."""
    worker = bench.start()
    bench.send("ending", seconds=300, ends_anyway=True)
    bench.wait_for_event("began")
    worker.terminate()
    assert worker.wait(20) == 0
    assert [line["reason"] for line in bench.events("cancelled")] == ["drain"]
    assert bench.queue.counts().total == 0


def test_sigterm_lets_short_trials_end(bench: Bench) -> None:
    """What ends within the drain ends normally, and nothing new is taken meanwhile."""
    worker = bench.start(slots=2, drain_seconds=60)
    bench.send("short", seconds=3)
    bench.wait_for_event("began")
    worker.terminate()
    wait_for(lambda: "Stopping on SIGTERM" in bench.log(), seconds=20)
    bench.send("late")
    assert worker.wait(30) == 0
    assert [line["trial"] for line in bench.events("ended")] == ["short"]
    wait_for(lambda: bench.queue.counts().visible == 1, seconds=5)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (signal.SIGINT, signal.SIGINT, "Press Ctrl-C again"),
        (signal.SIGTERM, signal.SIGTERM, "Stopping on SIGTERM"),
        (signal.SIGTERM, signal.SIGQUIT, "Stopping on SIGTERM"),
        (None, signal.SIGQUIT, ""),
    ],
)
def test_a_second_signal_hands_back_now(
    bench: Bench, first: signal.Signals | None, second: signal.Signals, said: str
) -> None:
    """A second Ctrl-C or SIGTERM does not wait for the drain, and the first one has said so; nor does SIGQUIT ever."""
    worker = bench.start(drain_seconds=600, visibility_seconds=60)
    bench.send("long", seconds=300)
    bench.wait_for_event("began")
    if first is not None:
        worker.send_signal(first)
        wait_for(lambda: said in bench.log(), seconds=10)
    worker.send_signal(second)
    assert worker.wait(30) == 0
    assert [line["reason"] for line in bench.events("cancelled")] == ["drain"]
    assert bench.queue.counts().visible == 1


def test_a_poll_in_flight_at_sigterm_strands_nothing(bench: Bench, endpoint: str) -> None:
    """A message that the last poll brings to a worker that was told to stop is visible again at once."""
    with Proxy.to(endpoint) as proxy:
        worker = bench.start(visibility_seconds=600, stack=bench.through(proxy))
        proxy.fault = "late"
        bench.send("late")
        wait_for(lambda: bench.queue.counts().in_flight == 1, seconds=20)
        worker.terminate()
        wait_for(lambda: "Stopping on SIGTERM" in bench.log(), seconds=10)
        proxy.fault = None
        assert worker.wait(20) == 0
    assert bench.queue.counts().visible == 1
    assert bench.events("began") == []


def test_what_ends_after_a_lost_connection_is_deleted(bench: Bench, endpoint: str) -> None:
    """A worker that lost all of its connections has not forgotten what it delivered: the ending deletes it, once."""
    with Proxy.to(endpoint) as proxy:
        worker = bench.start(visibility_seconds=60, stack=bench.through(proxy))
        bench.send("running", seconds=6)
        bench.wait_for_event("began")
        proxy.fault = "reset"
        wait_for(lambda: "Receiving failed" in bench.log(), seconds=20)
        proxy.fault = None
        bench.wait_for_event("ended")
        bench.wait_until_empty(seconds=20)
        assert len(bench.events("began")) == 1
        assert worker.poll() is None


@pytest.mark.slow
def test_many_slots_in_one_process(bench: Bench) -> None:
    """Two hundred trials run at the same time in one process."""
    worker = bench.start(slots=200, visibility_seconds=120)
    bench.send(*[f"trial-{number}" for number in range(200)], seconds=300)
    bench.wait_for_event("began", count=200)
    assert not bench.events("ended")
    print(next(line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if "VmRSS" in line))
    worker.send_signal(signal.SIGQUIT)
    assert worker.wait(60) == 0
    assert bench.queue.counts().visible == 200


@pytest.mark.slow
def test_a_killed_workers_trials_run_elsewhere(bench: Bench) -> None:
    """After kill -9 the message is run by another worker within the visibility time-out and ten seconds."""
    first = bench.start()
    bench.send("orphan", first_seconds=300)
    bench.wait_for_event("began")
    bench.start()
    first.kill()
    bench.wait_for_event("ended", seconds=VISIBILITY_SECONDS + 10)
    bench.wait_until_empty()
    assert bench.events("ended")[0]["pid"] == bench.workers[1].pid


@pytest.mark.slow
def test_the_lease_keeps_a_long_trial_exclusive(bench: Bench) -> None:
    """A trial of several visibility time-outs is run once, next to an idle worker."""
    bench.start()
    bench.start()
    bench.send("long", seconds=2.5 * VISIBILITY_SECONDS)
    bench.wait_for_event("ended")
    bench.wait_until_empty()
    assert len(bench.events("began")) == 1


@pytest.mark.slow
def test_a_frozen_worker_lets_go(bench: Bench) -> None:
    """A worker that slept through its lease cancels its trial with `lease-lost` and leaves the message alone."""
    frozen = bench.start()
    bench.send("shared", first_seconds=300, seconds=60)
    bench.wait_for_event("began")
    frozen.send_signal(signal.SIGSTOP)
    bench.start()
    bench.wait_for_event("began", count=2)
    frozen.send_signal(signal.SIGCONT)
    bench.wait_for_event("cancelled", seconds=20)
    assert [(line["pid"], line["reason"]) for line in bench.events("cancelled")] == [(frozen.pid, "lease-lost")]
    time.sleep(LEASE_SECONDS)
    counts = bench.queue.counts()
    assert (counts.visible, counts.in_flight) == (0, 1)


@pytest.mark.slow
def test_no_answer_of_sqs_ends_a_worker(bench: Bench, endpoint: str) -> None:
    """Neither a server's error nor expired credentials: it says so, and receives again as soon as SQS answers."""
    with Proxy.to(endpoint) as proxy:
        worker = bench.start(stack=bench.through(proxy))
        for status in (403, 408, 500, 502, 503, 504):
            proxy.refuse_once(status)
            bench.send(f"after-{status}")
            bench.wait_for_event("ended", trial=f"after-{status}")
            bench.wait_until_empty()  # else it would be the message's deletion that is refused next
        assert worker.poll() is None
        assert bench.log().count("Receiving works again") == 6


@pytest.mark.slow
def test_throttled_extensions_cost_no_trial(bench: Bench, endpoint: str) -> None:
    """While SQS takes no extension the keeper says so and tries again with pauses; the trial goes on, exclusively."""
    with Proxy.to(endpoint) as proxy:
        bench.start(stack=bench.through(proxy))
        bench.send("long", seconds=1.5 * VISIBILITY_SECONDS)
        bench.wait_for_event("began")
        proxy.fault = "throttle"
        wait_for(lambda: "Extending leases failed" in bench.log(), seconds=20)
        wait_for(lambda: proxy.answered >= 2, seconds=20)
        proxy.fault = None
        wait_for(lambda: "Extending leases works again" in bench.log(), seconds=20)
        assert proxy.answered <= 4
        bench.wait_for_event("ended")
        bench.wait_until_empty()
    assert len(bench.events("began")) == 1
    assert bench.events("cancelled") == []
    assert bench.log().count("Extending leases failed") == 1
    assert "RequestThrottled" in bench.log()
    assert "put off" not in bench.log()


@pytest.mark.slow
def test_a_broken_network_loses_nothing(make_bench: Callable[[], Bench], endpoint: str) -> None:
    """HTTP 500, reset and silent connections: a running trial goes on and ends once, and receiving resumes."""
    faults: tuple[Fault, ...] = (500, "reset", "hole")
    with ExitStack() as stack:
        proxies = {fault: stack.enter_context(Proxy.to(endpoint)) for fault in faults}
        benches = {fault: make_bench() for fault in proxies}
        for fault, bench in benches.items():
            bench.start(visibility_seconds=20, stack=bench.through(proxies[fault]))
        for bench in benches.values():
            bench.send("running", seconds=25)
        for bench in benches.values():
            bench.wait_for_event("began")
        for fault, bench in benches.items():
            proxies[fault].fault = fault
            bench.send("waiting")
        time.sleep(5)
        for fault, bench in benches.items():
            assert not bench.events("began", "waiting")
            proxies[fault].fault = None
        for bench in benches.values():
            bench.wait_for_event("ended", count=2)
            bench.wait_until_empty()
            assert len(bench.events("began")) == 2
            assert "Receiving works again" in bench.log()


Fault = int | Literal["reset", "hole", "late", "throttle"]
"""An HTTP status instead of an answer; connections reset, or silent; answers that bring messages held back; every
extension refused."""

THROTTLED = json.dumps({"__type": "com.amazonaws.sqs#RequestThrottled", "message": "Too many requests."})


class Proxy:
    """Passes TCP connections on to a port, or breaks all of them in one way.

    Attributes:
        answered: how many requests it answered itself.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.fault: Fault | None = None
        self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = Lock()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @classmethod
    @contextmanager
    def to(cls, endpoint: str) -> Iterator[Proxy]:
        """A proxy that runs."""
        proxy = cls(int(endpoint.rpartition(":")[2]))
        thread = Thread(target=proxy._accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.fault = None
            proxy._listener.shutdown(socket.SHUT_RDWR)
            proxy._listener.close()
            thread.join()
            for each in proxy._open:
                each.close()

    def refuse_once(self, status: int) -> None:
        """Answer with an HTTP status until that has happened."""
        before = self.answered
        self.fault = status
        wait_for(lambda: self.answered > before, seconds=20)
        self.fault = None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            with self._lock:
                self._open += [client, server]
            Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                match self.fault:
                    case None:
                        target.sendall(data)
                    case int() as status if is_request:
                        self._answer(source, status)
                    case "late":
                        while self.fault == "late" and b"ReceiptHandle" in data and not is_request:
                            time.sleep(0.05)
                        target.sendall(data)
                    case "throttle" if b"AmazonSQS.ChangeMessageVisibilityBatch" in data:
                        self._answer(source, 400, THROTTLED)
                    case "throttle":
                        target.sendall(data)
                    case "reset":
                        for each in (source, target):
                            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            each.close()
            if self.fault != "hole":
                target.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, status: int, body: str = "{}") -> None:
        """In the server's stead; whatever else the client says on this connection is not passed on."""
        head = f"HTTP/1.1 {status} Oops\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall(f"{head}{body}".encode())
        client.shutdown(socket.SHUT_WR)
        with self._lock:
            self.answered += 1
        while client.recv(65536):
            pass


def wait_for(condition: Callable[[], object], *, seconds: float) -> None:
    """Wait until a condition holds, and fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def _message(trial: str, **does: object) -> TrialMessage:
    return TrialMessage(job="job", trial=trial, bundle="0" * 64, trial_config=does)


def _poison() -> dict[str, str]:
    """Bodies that no worker can run, each with a part of its reason."""
    good = _message("poison")

    def changed(change: Callable[[dict[str, Any]], object]) -> str:
        envelope = decode_envelope(encode(good))
        change(envelope)
        return _base64(json.dumps(envelope))

    return {
        "plain text": "not the base64",
        json.dumps({"foreign": "json"}): "not the base64",
        _base64("text"): "not JSON",
        _base64("{}"): "no headers",
        changed(lambda e: e["headers"].update(task="other.task")): "Unknown task 'other.task'",
        changed(lambda e: e["headers"].pop("id")): "no task id",
        changed(lambda e: e.update(properties={})): "body encoding",
        changed(
            lambda e: e.update({
                "content-type": "application/x-python-serialize",
                "body": base64.b64encode(pickle.dumps([[], {}, {}])).decode(),
            })
        ): "application/x-python-serialize",
        changed(lambda e: e.update(body="%%%")): "task's body is not the base64",
        changed(lambda e: e.update(body=_base64(json.dumps([[{"schema_version": 2}], {}, {}])))): "schema",
    }  # fmt: skip


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stack(endpoint: str, queue_url: str, dead_letter_queue_url: str) -> Stack:
    return Stack(
        name="test",
        region="us-east-1",
        queue_url=queue_url,
        dead_letter_queue_url=dead_letter_queue_url,
        bucket="none",
        endpoint_url=endpoint,
    )
