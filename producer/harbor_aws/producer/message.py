"""What the producer puts on the queue for each trial, and the worker reads. Data only; nothing secret."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from harbor_aws.producer.usage import Consumption

if TYPE_CHECKING:
    from collections.abc import Iterable

TASK_NAME = "harbor_aws.run_trial"
"""The name of the one Celery task; its only argument is a :class:`TrialMessage` as a JSON object."""

MESSAGE_LIMIT_BYTES = 64 * 1024
"""A message is far below SQS's own limit (256 KiB on older queues, 1 MiB now), base64 included."""


class AttemptRecord(BaseModel):
    """An attempt that came to nothing."""

    model_config = ConfigDict(frozen=True)

    replay: int = 0
    attempt: int
    attempt_id: str | None = None
    """Names its archive in the bucket, if it left one."""
    worker: str | None = None
    pod: str | None = None
    """The agent's pod, if one was made."""
    began_at: datetime | None = None
    ended_at: datetime | None = None
    cause: str
    """The class of the exception that ended it."""
    reason: str = ""
    consumed: Consumption | None = None
    """What the whole trial had consumed when this attempt ended; only the newest attempt says so. It is told here, for
    workers of earlier versions read an attempt that tells more than they know, and refuse such a message."""


def consumed_by(history: Iterable[AttemptRecord]) -> Consumption:
    """What a trial had consumed when the last of these attempts ended, as far as they tell."""
    told = [record.consumed for record in history if record.consumed is not None]
    return told[-1] if told else Consumption()


_ADDED_LATER = {"replay", "history", "waits", "refusals", "disruptions"}


class TrialMessage(BaseModel):
    """One attempt at one trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    job: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The job's name, part of every key in the bucket."""

    trial: str = Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Harbor's trial name, fixed by the producer: the idempotency key."""

    attempt: int = Field(default=1, ge=1)
    """Which attempt this is, counted from 1; a retry is a new message with the next number."""

    attempts: int = Field(default=3, ge=1)
    """How often the trial is tried when the infrastructure fails it."""

    agent_retries: int = Field(default=0, ge=0)
    """How many of the attempts so far were the agent's doing and tried again by ``--max-retries``."""

    waits: int = Field(default=0, ge=0)
    """How many of the attempts so far found no room for the trial, and cost it nothing."""

    refusals: int = Field(default=0, ge=0)
    """How many of the last ones did so, one after the other: how long it waits for room already."""

    disruptions: int = Field(default=0, ge=0)
    """How many of the attempts so far were nobody's fault otherwise (an eviction), and cost it nothing."""

    replay: int = Field(default=0, ge=0)
    """How often the trial was put back from the dead-letter queue; each time its attempts start again at 1."""

    history: tuple[AttemptRecord, ...] = ()
    """The attempts before this one, of all replays, the oldest first; see :mod:`harbor_aws.producer.history`."""

    bundle: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 (hex) of the task's bundle."""

    trial_config: dict[str, Any]
    """Harbor's ``TrialConfig`` as JSON, without its defaults, as the producer's plan has it."""

    retry: dict[str, Any] = Field(default_factory=dict)
    """Harbor's ``RetryConfig`` as JSON, without its defaults."""

    @property
    def is_first(self) -> bool:
        """Whether nothing was ever sent of the trial before this message."""
        return self.attempt == 1 and self.replay == 0

    @property
    def place(self) -> tuple[int, int]:
        """How far the trial is with this message; a later one's is greater."""
        return self.replay, self.attempt

    @property
    def retries(self) -> int:
        """How often the trial was tried again for a failure; waits and disruptions are none of its own."""
        return self.attempt - 1 - self.waits - self.disruptions

    @property
    def consumed(self) -> Consumption:
        """What the trial's earlier attempts consumed, as far as the history tells."""
        return consumed_by(self.history)

    @model_validator(mode="after")
    def _charges_are_of_attempts(self) -> Self:
        """Whoever can send could otherwise give a trial attempts without end."""
        if self.agent_retries + self.waits + self.disruptions >= self.attempt or self.refusals > self.waits:
            raise ValueError("a message says of more attempts than there were that they cost its trial nothing")
        return self

    @model_serializer(mode="wrap")
    def _without_news(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A message that needs none of what was added later is one that workers without that can read."""
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value or name not in _ADDED_LATER}
