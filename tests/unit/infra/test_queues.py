"""What the door to SQS does with batches of which SQS takes a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.infra.queues import OutgoingMessage, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def client() -> Iterator[SQSClient]:
    with mock_aws():
        yield boto3.client("sqs", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")


@pytest.fixture
def queue(client: SQSClient, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _seconds: None)
    return Queue(client, url=client.create_queue(QueueName=uuid4().hex)["QueueUrl"])


class PartialClient:
    """A client whose first answers name entries that failed."""

    def __init__(self, client: SQSClient, *failing: set[str], sender_fault: bool = False) -> None:
        self._client = client
        self._failing = list(failing)
        self._sender_fault = sender_fault
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        def call(*, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's names
            failing = self._failing.pop(0) if self._failing else set()
            self.sizes.append(len(Entries))
            taken = [entry for entry in Entries if entry["Id"] not in failing]
            answer = getattr(self._client, name)(QueueUrl=QueueUrl, Entries=taken) if taken else {}
            failed = [
                {"Id": identity, "Code": "InternalError", "SenderFault": self._sender_fault} for identity in failing
            ]
            return {"Successful": answer.get("Successful", []), "Failed": failed}

        return call


def partial(queue: Queue, *failing: set[str], sender_fault: bool = False) -> tuple[Queue, PartialClient]:
    client = PartialClient(queue._client, *failing, sender_fault=sender_fault)
    return Queue(cast("Any", client), url=queue.url), client


def received(queue: Queue) -> dict[str, str]:
    """Bodies by MessageId, all of them hidden."""
    found: dict[str, str] = {}
    while messages := queue.receive(count=10, hide_seconds=60):
        found |= {message.message_id: message.body for message in messages}
    return found


def test_a_message_comes_as_it_was_sent(queue: Queue) -> None:
    """Body, attributes, MessageId, and when."""
    (identity,) = queue.send([OutgoingMessage("body", {"cause": "A", "empty": ""})])
    (message,) = queue.receive(count=1, hide_seconds=60)
    assert (message.message_id, message.body) == (identity, "body")
    assert message.attributes == {"cause": "A", "empty": " "}
    assert message.sent_at.tzinfo is not None
    assert queue.receive(count=1, hide_seconds=60) == []


def test_ids_come_in_the_order_of_the_messages(queue: Queue) -> None:
    """Also where some of them had to be sent again."""
    sending, client = partial(queue, {"0", "3"}, {"3"})
    ids = sending.send([OutgoingMessage(f"{number}") for number in range(5)])
    assert client.sizes == [5, 2, 1]
    bodies = received(queue)
    assert [bodies[identity] for identity in ids] == ["0", "1", "2", "3", "4"]


def test_a_refused_message_is_no_matter_of_patience(queue: Queue) -> None:
    """The sender's fault stays one."""
    sending, client = partial(queue, {"1"}, sender_fault=True)
    with pytest.raises(PermanentError):
        sending.send([OutgoingMessage("a"), OutgoingMessage("b")])
    assert client.sizes == [2]


@pytest.mark.parametrize("operation", ["release", "delete"])
def test_a_batch_is_tried_until_it_is_done(queue: Queue, operation: str) -> None:
    """What SQS failed is tried again."""
    queue.send([OutgoingMessage(f"{number}") for number in range(4)])
    receipts = [message.receipt for message in queue.receive(count=10, hide_seconds=60)]
    partly, client = partial(queue, {"0", "1"})
    getattr(partly, operation)(receipts)
    assert client.sizes == [4, 4]
    assert (queue.counts().visible, queue.counts().in_flight) == ((4, 0) if operation == "release" else (0, 0))


def test_a_receipt_that_is_too_old_is_left_alone(queue: Queue) -> None:
    """Its message is gone, or somebody else's."""
    partly, client = partial(queue, {"0"}, sender_fault=True)
    partly.release(["gone"])
    assert client.sizes == [1]


def test_a_receive_is_tried_once(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller must know that messages may be hidden that nobody got."""
    gone = Queue(queue._client, url=queue.url)
    calls: list[int] = []

    def fail(**_: Any) -> None:
        calls.append(1)
        raise EndpointConnectionError(endpoint_url="x")

    monkeypatch.setattr(gone._client, "receive_message", fail)
    with pytest.raises(TransientError):
        gone.receive(count=1, hide_seconds=60)
    assert len(calls) == 1
