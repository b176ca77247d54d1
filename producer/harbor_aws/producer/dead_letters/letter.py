"""A dead letter as a value, read from its SQS message: the worker's attributes around the original body. Pure.

A message that SQS's redrive policy moved has no attributes of ours: no worker brought it to an ending.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harbor_aws.producer.celery_message import UndecodableMessageError, decode
from harbor_aws.producer.dead_letters.pod_end import PodEnd
from harbor_aws.producer.history import with_attempt
from harbor_aws.producer.message import AttemptRecord, TrialMessage, consumed_by
from harbor_aws.producer.state import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.queues import IncomingMessage
    from harbor_aws.producer.state import TrialState
    from harbor_aws.producer.usage import Consumption

WORKER_DIED = "WorkerDied"
"""The cause of what SQS itself moved."""

NO_LOGS = "none"
"""The attribute ``logs`` of a letter without any: SQS has no empty attributes."""

_GIVEN_UP = (
    "SQS gave it up: it was received again and again, and every worker that had it died, or could record no ending."
)


class LetterDetails(BaseModel):
    """The attribute ``details``: what has no attribute of its own, of which SQS allows ten."""

    model_config = ConfigDict(frozen=True)

    attempts: list[AttemptRecord] = Field(default_factory=list)
    """Every attempt there was, of all replays, the oldest first, the last one being the one that made the letter."""
    budget: int | None = None
    """How many attempts the trial had."""
    receive_count: int | None = None
    message_id: str | None = None
    """SQS's MessageId of the message that became this letter."""
    pods: list[str] = Field(default_factory=list)
    """Pods of the last attempt."""
    pod: PodEnd | None = None
    traceback: str | None = None
    """The end of it."""


class Letter(BaseModel):
    """A dead letter."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    id: str
    """SQS's MessageId, the same at every look."""
    at: datetime
    """When it died, as far as that is known (UTC)."""
    cause: str
    reason: str
    job: str | None
    trial: str | None
    replay: int
    attempt: int | None
    worker: str | None
    logs: str | None
    """Key of what the last attempt left in the bucket."""
    moved_by_sqs: bool
    unrunnable: str | None
    """Why no worker can run it, and so nobody can replay it: its body makes no sense, or a stranger wrote it."""
    details: LetterDetails
    body: str
    """The original message, whole."""
    attributes: dict[str, str]

    @classmethod
    def of(cls, incoming: IncomingMessage) -> Self:
        """What an SQS message says by itself; whatever is missing or makes no sense is left out."""
        attributes = dict(incoming.attributes)
        message, flaw = _decoded(incoming.body)
        moved_by_sqs = "cause" not in attributes
        logs = attributes.get("logs")
        return cls(
            id=incoming.message_id,
            at=_time(attributes.get("at")) or incoming.sent_at,
            cause=attributes.get("cause", WORKER_DIED),
            reason=attributes.get("reason", _GIVEN_UP),
            job=message.job if message else None,
            trial=message.trial if message else None,
            replay=message.replay if message else 0,
            attempt=message.attempt if message else None,
            worker=attributes.get("worker"),
            logs=None if logs == NO_LOGS else logs,
            moved_by_sqs=moved_by_sqs,
            unrunnable=flaw,
            details=_details(attributes, message),
            body=incoming.body,
            attributes=attributes,
        )

    @cached_property
    def message(self) -> TrialMessage:
        """The original message.

        Raises:
            UndecodableMessageError: it has none that anybody can read.
        """
        return decode(self.body)

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """Every attempt, the last one included, as far as the letter tells."""
        return tuple(self.details.attempts)

    @property
    def consumed(self) -> Consumption:
        """What the trial consumed, as far as the letter tells."""
        return consumed_by(self.details.attempts)

    def with_state(self, state: TrialState | None) -> Self:
        """A letter that SQS moved knows nothing of its end; the trial's last state does, if it is of this attempt."""
        if not self.moved_by_sqs or state is None:
            return self
        message = self.message
        if (state.replay, state.attempt) != (message.replay, message.attempt):
            return self
        reason = _reason(state)
        last = AttemptRecord(
            replay=message.replay,
            attempt=message.attempt,
            attempt_id=state.attempt_id,
            worker=state.worker,
            pod=state.pod,
            ended_at=state.since,
            cause=WORKER_DIED,
            reason=reason.removeprefix(_GIVEN_UP).strip(),
            consumed=state.consumption(now=max(self.at, state.since)),
        )
        return self.model_copy(
            update={
                "at": max(self.at, state.since),
                "reason": reason,
                "worker": state.worker,
                "logs": state.logs,
                "details": self.details.model_copy(
                    update={
                        "attempts": list(with_attempt(message.history, last)),
                        "pods": [state.pod] if state.pod else [],
                    }
                ),
            }
        )


def _decoded(body: str) -> tuple[TrialMessage | None, str | None]:
    try:
        return decode(body), None
    except UndecodableMessageError as error:
        return None, str(error)


def _details(attributes: Mapping[str, str], message: TrialMessage | None) -> LetterDetails:
    with suppress(ValidationError):  # somebody else's: the body tells of all attempts but the last
        return LetterDetails.model_validate_json(attributes.get("details", ""))
    if message is None:
        return LetterDetails()
    last = AttemptRecord(
        replay=message.replay,
        attempt=message.attempt,
        worker=attributes.get("worker"),
        ended_at=_time(attributes.get("at")),
        cause=attributes.get("cause", WORKER_DIED),
        reason=attributes.get("reason", ""),
    )
    return LetterDetails(attempts=list(with_attempt(message.history, last)), budget=message.attempts)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


def _reason(state: TrialState) -> str:
    if state.phase is Phase.DEAD:  # it was written by whoever looked at the letter before
        return (state.reason or _GIVEN_UP).removeprefix(f"{WORKER_DIED}: ")
    pod = f", pod {state.pod}" if state.pod else ""
    said = f" {state.reason}" if state.reason else ""
    return (
        f"{_GIVEN_UP} Last seen at {state.since:%Y-%m-%d %H:%M:%S} UTC: phase {state.phase}, "
        f"worker {state.worker}{pod}.{said}"
    )
