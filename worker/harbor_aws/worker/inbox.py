"""The consumer's door to SQS: what a worker does with the messages of the trials' queue. Blocking."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError

from harbor_aws.infra.aws import sqs_client
from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_sqs import SQSClient

    from harbor_aws.infra.stack import Stack

POLL_SECONDS = 5
"""How long SQS holds an empty ReceiveMessage. An idle worker sends 12 a minute, half a million a month, which cost
about 0.2 USD; a longer poll would keep a worker that is told to stop waiting for it, since a message that it brings
would otherwise be stranded for its whole visibility."""

RECEIVE_LIMIT = 10
"""Messages of one ReceiveMessage, and entries of one ChangeMessageVisibilityBatch.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

ANSWER_SECONDS = 5
"""SQS answers within milliseconds; a connection that is silent for so long is dead."""

_NOT_OURS = {"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"}
"""What SQS calls a receipt that no longer holds its message: deleted, or visible again. The last one is how
ChangeMessageVisibility says it, and nothing else of our entries can be invalid.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html"""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as SQS gave it."""

    message_id: str
    """SQS's name of it, the same at every receive."""
    body: str
    receipt: str
    receive_count: int
    """How often it was received, this time included (SQS's ApproximateReceiveCount)."""


@dataclass(frozen=True, slots=True)
class ExtensionResult:
    """What became of a batch of extensions, as receipts. One in neither set failed and may be tried again."""

    extended: frozenset[str]
    lost: frozenset[str]


class Inbox:
    """The trials' queue as its consumer sees it. Every method raises :class:`TransientError` when SQS fails it.

    Each request is tried once: the callers try again in their own time, and hidden retries would keep a worker from
    stopping, or a lease from being given up in time.
    """

    def __init__(self, *, receiving: SQSClient, settling: SQSClient, url: str) -> None:
        self._receiving = receiving
        self._settling = settling
        self.url = url

    @classmethod
    def of(cls, stack: Stack, *, slots: int) -> Self:
        """Connections for every slot, so that no ending and no extension waits for another."""
        return cls(
            receiving=sqs_client(stack, read_timeout_seconds=POLL_SECONDS + ANSWER_SECONDS, connections=2, attempts=1),
            settling=sqs_client(stack, read_timeout_seconds=ANSWER_SECONDS, connections=slots + 2, attempts=1),
            url=stack.queue_url,
        )

    def receive(self, count: int, *, visibility_timeout_seconds: int) -> list[ReceivedMessage]:
        """Wait up to :data:`POLL_SECONDS` for up to ten messages, and hide them for the given time."""
        with self._translated():
            answer = self._receiving.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(count, RECEIVE_LIMIT),
                WaitTimeSeconds=POLL_SECONDS,
                VisibilityTimeout=visibility_timeout_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            ReceivedMessage(
                message_id=message["MessageId"],
                body=message["Body"],
                receipt=message["ReceiptHandle"],
                receive_count=int(message["Attributes"]["ApproximateReceiveCount"]),
            )
            for message in answer.get("Messages", [])
        ]

    def delete(self, receipt: str) -> None:
        with self._translated():
            self._settling.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)

    def hide(self, receipt: str, *, seconds: int) -> None:
        """Make a received message visible again after so many seconds; 0 is at once."""
        with self._translated():
            self._settling.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=seconds
            )

    def extend(self, visibility_timeouts: Mapping[str, int]) -> ExtensionResult:
        """Hide up to ten messages for so many seconds from now, each by its receipt, in one request."""
        receipts = dict(enumerate(visibility_timeouts))
        with self._translated():
            answer = self._settling.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": visibility_timeouts[receipt]}
                    for index, receipt in receipts.items()
                ],
            )
        return ExtensionResult(
            extended=frozenset(receipts[int(entry["Id"])] for entry in answer.get("Successful", [])),
            lost=frozenset(
                receipts[int(entry["Id"])]
                for entry in answer.get("Failed", [])
                if entry["Code"].removeprefix("AWS.SimpleQueueService.") in _NOT_OURS
            ),
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, OSError) as error:
            raise TransientError(f"SQS failed for {self.url}: {error}") from error
