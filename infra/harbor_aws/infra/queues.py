"""The door to SQS, but for Celery's own consumer. Blocking: an asyncio caller goes through ``asyncio.to_thread``."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from harbor_aws.infra.aws import sqs_client
from harbor_aws.infra.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

    from harbor_aws.infra.stack import Stack

BATCH_ENTRIES = 10
"""Messages in one SendMessageBatch.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

MAX_DELAY_SECONDS = 900
"""The longest DelaySeconds of a message. Same source."""

MAX_ATTRIBUTES = 10
"""Message attributes of one message. Same source."""

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
    def dead_letters(cls, stack: Stack) -> Self:
        return cls(sqs_client(stack), url=stack.dead_letter_queue_url)

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

    @retry(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(6),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        reraise=True,
    )
    def send(self, messages: Sequence[OutgoingMessage]) -> None:
        """Send up to ten messages in one request; entries that SQS did not take are sent again.

        A request whose answer was lost is sent again too, so a message may arrive twice; trials are idempotent.
        """
        pending = list(messages)
        while pending:
            with self._translated():
                answer = self._client.send_message_batch(QueueUrl=self.url, Entries=_entries(pending))
            failed = {entry["Id"]: entry for entry in answer.get("Failed", [])}
            refused = next((entry for entry in failed.values() if entry["SenderFault"]), None)
            if refused:
                raise PermanentError(f"SQS refused a message for {self.url}: {refused.get('Message', refused['Code'])}")
            if len(failed) == len(pending):
                raise TransientError(f"SQS took none of {len(pending)} messages for {self.url}: {failed}")
            pending = [pending[int(index)] for index in failed]

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


def _entries(messages: Sequence[OutgoingMessage]) -> list[SendMessageBatchRequestEntryTypeDef]:
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
        for index, message in enumerate(messages)
    ]


def _allowed(text: str) -> str:
    """SQS refuses a message for a single control character, and an attribute for being empty.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text) or " "
