"""What the producer puts on the queue for each trial, and the worker reads. Data only; nothing secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

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

    @model_serializer(mode="wrap")
    def _without_news(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A message that needs neither ``replay`` nor ``history`` is one that workers without them can read."""
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value or name not in ("replay", "history")}
