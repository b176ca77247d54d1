"""How messages come in, over moto's SQS, and what is done with those that cannot be run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.local.services import MAX_RECEIVES
from harbor_aws.infra.queues import Queue
from harbor_aws.producer.celery_message import encode
from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker import inbox as inbox_module
from harbor_aws.worker.fitness import Fitness
from harbor_aws.worker.in_flight import CancelReason, InFlight
from harbor_aws.worker.inbox import Inbox
from harbor_aws.worker.intake import Intake, duplicate_seconds
from harbor_aws.worker.lease import MAX_HOLD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient

    from harbor_aws.worker.inbox import ReceivedMessage


class Bench:
    """An intake on two queues of its own."""

    def __init__(self, client: SQSClient, *, slots: int = 4, alive_file: Path | None = None) -> None:
        self.client = client
        self.url = client.create_queue(QueueName=uuid4().hex)["QueueUrl"]
        self.dead_url = client.create_queue(QueueName=uuid4().hex)["QueueUrl"]
        self.in_flight = InFlight(slots=slots)
        self.fitness = Fitness()
        self.inbox = Inbox(receiving=client, settling=client, url=self.url)
        self.intake = Intake(
            inbox=self.inbox,
            in_flight=self.in_flight,
            dead_letters=Queue(client, url=self.dead_url),
            fitness=self.fitness,
            visibility_timeout_seconds=120,
            alive_file=alive_file,
        )

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def visible(self, url: str | None = None) -> int:
        return Queue(self.client, url=url or self.url).counts().visible


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[SQSClient]:
    """An SQS client of moto's; polls are short."""
    monkeypatch.setattr(inbox_module, "POLL_SECONDS", 1)
    with mock_aws():
        yield boto3.client("sqs", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")


def body(trial: str) -> str:
    return encode(TrialMessage(job="job", trial=trial, bundle="0" * 64, trial_config={}))


def test_no_more_is_taken_than_slots_are_free(client: SQSClient) -> None:
    """Free slots bound the receive; a full worker receives nothing; a freed slot takes the next."""
    bench = Bench(client, slots=4)
    bench.send(*[body(f"t{number}") for number in range(6)])
    taken = bench.intake.take(0.1)
    while len(taken) < 4:
        taken += bench.intake.take(0.1)
    assert bench.intake.take(0.01) == []
    assert bench.visible() == 2
    bench.in_flight.remove(taken[0])
    assert len(bench.intake.take(0.1)) == 1
    assert {held.delivery.receive_count for held in taken} == {1}
    assert len({held.delivery.message_id for held in taken}) == 4


def test_an_undecodable_message_moves_to_the_dead_letters(client: SQSClient) -> None:
    """Its body arrives there unchanged with cause and reason, and it leaves the queue."""
    bench = Bench(client)
    bench.send("hello")
    assert bench.intake.take(0.1) == []
    letter = client.receive_message(QueueUrl=bench.dead_url, MessageAttributeNames=["All"])["Messages"][0]
    assert letter["Body"] == "hello"
    assert letter["MessageAttributes"]["cause"]["StringValue"] == "UndecodableMessageError"
    assert "base64" in letter["MessageAttributes"]["reason"]["StringValue"]
    assert Queue(client, url=bench.url).counts().total == 0


def test_an_undecodable_message_stays_when_it_cannot_be_moved(client: SQSClient) -> None:
    """Without a dead-letter queue it is neither deleted nor held, and the others are taken."""
    bench = Bench(client)
    client.delete_queue(QueueUrl=bench.dead_url)
    bench.send("hello", body("good"))
    taken = bench.intake.take(0.1) + bench.intake.take(0.1)
    assert [held.delivery.message.trial for held in taken] == ["good"]
    assert Queue(client, url=bench.url).counts().in_flight == 2
    assert len(bench.in_flight) == 1


def test_what_the_last_poll_brings_is_released(client: SQSClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker told to stop during a poll shows its messages again at once, and polls no more."""
    bench = Bench(client)
    bench.send(body("late"))
    receive = bench.inbox.receive

    def receive_while_stopping(count: int, *, visibility_timeout_seconds: int) -> list[ReceivedMessage]:
        messages = receive(count, visibility_timeout_seconds=visibility_timeout_seconds)
        bench.in_flight.close()
        return messages

    monkeypatch.setattr(bench.inbox, "receive", receive_while_stopping)
    assert bench.intake.take(0.1) == []
    assert bench.visible() == 1
    assert bench.intake.take(0.1) == []
    assert bench.visible() == 1


def test_a_trial_that_runs_here_is_not_taken_again(client: SQSClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other messages take no slot and are hidden, to come back after it; also if SQS fails to hide one."""
    bench = Bench(client, slots=4)
    hidden: list[int] = []
    hide = bench.inbox.hide

    def hide_and_note(receipt: str, *, seconds: int) -> None:
        hidden.append(seconds)
        if len(hidden) == 2:
            raise TransientError("HTTP 500")
        hide(receipt, seconds=seconds)

    monkeypatch.setattr(bench.inbox, "hide", hide_and_note)
    bench.send(body("twice"), body("twice"))
    taken = bench.intake.take(0.1) + bench.intake.take(0.1)
    bench.send(body("twice"), body("other"))
    taken += bench.intake.take(0.1) + bench.intake.take(0.1)
    assert [held.delivery.message.trial for held in taken] == ["twice", "other"]
    assert hidden == [60, 60]
    assert len(bench.in_flight) == 2
    assert Queue(client, url=bench.url).counts().in_flight == 4
    bench.in_flight.remove(taken[0])
    bench.send(body("twice"))
    assert len(bench.intake.take(0.1)) == 1


@pytest.mark.parametrize("is_told", [False, True])
def test_a_trial_that_lost_its_lease_is_soon_taken_again(
    client: SQSClient, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    """Its message is not put off as long as beside one that keeps its lease, whether the loss was noticed or not."""
    bench = Bench(client)
    hidden: list[int] = []
    monkeypatch.setattr(bench.inbox, "hide", lambda _receipt, *, seconds: hidden.append(seconds))
    bench.send(body("frozen"))
    (held,) = bench.intake.take(0.1)
    if is_told:
        held.cancelled = CancelReason.LEASE_LOST
    else:
        held.extended_at -= 120
    bench.send(body("frozen"))
    assert bench.intake.take(0.1) == []
    assert hidden == [20]


def test_a_duplicate_outlasts_the_longest_trial() -> None:
    """It is put off for longer and longer, so that its trial ends before SQS gives up on it."""
    assert [duplicate_seconds(receives) for receives in (0, 1, 2, 3, 7, 100)] == [60, 60, 120, 240, 3600, 3600]
    assert sum(duplicate_seconds(receives) for receives in range(1, MAX_RECEIVES)) > MAX_HOLD_SECONDS


def test_a_poll_that_slept_counts_from_its_beginning(client: SQSClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of a poll in which the process was frozen are as old as the poll."""
    bench = Bench(client)
    bench.send(body("old"))
    times = iter([1000.0, 1300.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times, 1300.0))
    assert bench.intake.take(0.1)[0].extended_at == 1000.0


def test_failures_back_off_and_end(
    client: SQSClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While SQS fails the waits grow and one line is logged; then receiving goes on as before."""
    bench = Bench(client)
    bench.send(body("patient"))
    waits: list[float] = []
    monkeypatch.setattr(bench.in_flight, "wait_until_closed", lambda seconds: waits.append(seconds))
    with monkeypatch.context() as broken:
        broken.setattr(bench.inbox, "receive", _fail)
        for _ in range(7):
            assert bench.intake.take(0.1) == []
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert len(caplog.records) == 1
    assert len(bench.intake.take(0.1)) == 1


def test_the_alive_file_tells_of_polls(client: SQSClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is touched by a poll that worked and by a full worker, not by one that failed."""
    path = tmp_path / "alive"
    bench = Bench(client, slots=1, alive_file=path)
    monkeypatch.setattr(bench.in_flight, "wait_until_closed", lambda _seconds: True)
    with monkeypatch.context() as broken:
        broken.setattr(bench.inbox, "receive", _fail)
        bench.intake.take(0.1)
    assert not path.exists()
    bench.send(body("only"))
    bench.intake.take(0.1)
    assert path.exists()
    path.unlink()
    bench.intake.take(0.01)
    assert path.exists()


def test_who_is_not_fit_receives_nothing(client: SQSClient, tmp_path: Path) -> None:
    """Its messages stay for others, with none of their receives spent; it is alive, and keeps what it has."""
    path = tmp_path / "alive"
    bench = Bench(client, alive_file=path)
    bench.send(body("first"))
    assert len(bench.intake.take(0.1)) == 1
    path.unlink()
    bench.fitness.note_cluster("no route")
    bench.send(body("second"))
    assert bench.intake.take(0.01) == []
    assert path.exists()
    assert (bench.visible(), len(bench.in_flight)) == (1, 1)
    bench.fitness.note_cluster(None)
    (taken,) = bench.intake.take(0.1)
    assert taken.delivery.receive_count == 1


def test_who_is_not_fit_waits_and_stops_at_once(client: SQSClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's loop does not spin meanwhile, and a drain has not to wait for it."""
    bench = Bench(client)
    bench.fitness.note_cluster("no route")
    waits: list[float] = []
    with monkeypatch.context() as noted:
        noted.setattr(bench.in_flight, "wait_until_closed", lambda seconds: waits.append(seconds))
        bench.intake.take(1.0)
    assert waits == [1.0]
    bench.in_flight.close()
    assert bench.intake.take(600) == []


def _fail(_count: int, *, visibility_timeout_seconds: int) -> list[ReceivedMessage]:
    raise TransientError(f"HTTP 500, {visibility_timeout_seconds}")
