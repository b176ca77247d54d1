"""The door to SQS, but for Celery's own consumer. Blocking: an asyncio caller goes through ``asyncio.to_thread``."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from harbor_aws.infra.aws import DEFAULT_ATTEMPTS, sqs_client
from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        MessageTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

    from harbor_aws.infra.stack import Stack

BATCH_ENTRIES = 10
"""Messages in one SendMessageBatch, and in every other batch.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

MAX_DELAY_SECONDS = 900
"""The longest DelaySeconds of a message. Same source."""

MAX_ATTRIBUTES = 10
"""Message attributes of one message. Same source."""

_RECEIVE_WAIT_SECONDS = 1
"""Any wait makes SQS ask all of its servers, so that an empty answer means that nothing is visible.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html"""

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFUSED = {"403", "AccessDenied", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """SQS's own, approximate, counts."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A body with its string attributes."""

    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: int = 0


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message as SQS gave it, hidden from everybody else for a while."""

    message_id: str
    """The same at every receive; a message that SQS itself moved to the dead-letter queue keeps it."""
    receipt: str
    """Names this one receive."""
    body: str
    attributes: Mapping[str, str]
    sent_at: datetime
    """When it was first sent (UTC), to whichever queue."""


_retried = retry(
    retry=retry_if_exception_type(TransientError),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.2, max=10),
    reraise=True,
)


class Queue:
    """One queue. Raises :class:`TransientError` and :class:`PermanentError` as :class:`ObjectStore` does."""

    def __init__(self, client: SQSClient, *, url: str) -> None:
        self._client = client
        self.url = url

    @classmethod
    def trials(cls, stack: Stack) -> Self:
        """The queue that the workers read."""
        return cls(sqs_client(stack), url=stack.queue_url)

    @classmethod
    def dead_letters(cls, stack: Stack, *, attempts: int = DEFAULT_ATTEMPTS) -> Self:
        """The queue of what came to nothing. With one attempt a receive that failed is seen by its caller."""
        return cls(sqs_client(stack, attempts=attempts), url=stack.dead_letter_queue_url)

    def counts(self) -> QueueCounts:
        with self._translated():
            attributes = self._client.get_queue_attributes(
                QueueUrl=self.url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"]
        return QueueCounts(
            visible=int(attributes["ApproximateNumberOfMessages"]),
            in_flight=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(attributes["ApproximateNumberOfMessagesDelayed"]),
        )

    @_retried
    def send(self, messages: Sequence[OutgoingMessage]) -> list[str]:
        """Send up to ten messages in one request, and entries that SQS did not take again; their MessageIds in order.

        A request whose answer was lost is sent again too, so a message may arrive twice; trials are idempotent.
        """
        ids: dict[int, str] = {}
        pending = dict(enumerate(messages))
        while pending:
            with self._translated():
                answer = self._client.send_message_batch(QueueUrl=self.url, Entries=_entries(pending))
            ids |= {int(entry["Id"]): entry["MessageId"] for entry in answer.get("Successful", [])}
            failed = {entry["Id"]: entry for entry in answer.get("Failed", [])}
            refused = next((entry for entry in failed.values() if entry["SenderFault"]), None)
            if refused:
                raise PermanentError(f"SQS refused a message for {self.url}: {refused.get('Message', refused['Code'])}")
            if len(failed) == len(pending):
                raise TransientError(f"SQS took none of {len(pending)} messages for {self.url}: {failed}")
            pending = {int(index): pending[int(index)] for index in failed}
        return [ids[index] for index in range(len(messages))]

    def receive(self, *, count: int, hide_seconds: int) -> list[IncomingMessage]:
        """Up to ten messages, hidden from everybody else for a while; none if none is visible.

        It is not tried again: when it fails, it may have hidden messages that nobody got.
        """
        with self._translated():
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(count, BATCH_ENTRIES),
                WaitTimeSeconds=_RECEIVE_WAIT_SECONDS,
                VisibilityTimeout=hide_seconds,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        return [_incoming(message) for message in answer.get("Messages", [])]

    @_retried
    def release(self, receipts: Sequence[str]) -> None:
        """Make up to ten received messages visible again; those that are visible or gone already are left alone."""
        with self._translated():
            answer = self._client.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                    for index, receipt in enumerate(receipts)
                ],
            )
        self._check(answer.get("Failed", []))

    @_retried
    def delete(self, receipts: Sequence[str]) -> None:
        """Delete up to ten received messages. One whose receipt is too old stays, as SQS has it."""
        with self._translated():
            answer = self._client.delete_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)],
            )
        self._check(answer.get("Failed", []))

    def _check(self, failed: Sequence[BatchResultErrorEntryTypeDef]) -> None:
        """Both operations may be done twice, so all of a batch is when SQS failed some of it."""
        if any(not entry["SenderFault"] for entry in failed):
            raise TransientError(f"SQS failed some of a batch for {self.url}: {failed}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if error.response.get("Error", {}).get("Code", "") in _REFUSED:
                raise PermanentError(
                    f"SQS refused {self.url}: {error}. Check the credentials and the stack."
                ) from error
            raise TransientError(f"SQS failed for {self.url}: {error}") from error
        except BotoCoreError as error:
            raise TransientError(f"SQS did not answer for {self.url}: {error}") from error


def _incoming(message: MessageTypeDef) -> IncomingMessage:
    attributes = message.get("MessageAttributes", {})
    return IncomingMessage(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        attributes={name: value.get("StringValue", "") for name, value in attributes.items()},
        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
    )


def _entries(messages: Mapping[int, OutgoingMessage]) -> list[SendMessageBatchRequestEntryTypeDef]:
    return [
        {
            "Id": str(index),
            "MessageBody": message.body,
            "DelaySeconds": message.delay_seconds,
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": _allowed(value)}
                for name, value in message.attributes.items()
            },
        }
        for index, message in messages.items()
    ]


def _allowed(text: str) -> str:
    """SQS refuses a message for a single control character, and an attribute for being empty.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text) or " "
