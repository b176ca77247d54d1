"""What the producer puts on the queue for each trial, and the worker reads. Data only; nothing secret."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TASK_NAME = "harbor_aws.run_trial"
"""The name of the one Celery task; its only argument is a :class:`TrialMessage` as a JSON object."""

MESSAGE_LIMIT_BYTES = 64 * 1024
"""A message is far below SQS's own limit (256 KiB on older queues, 1 MiB now), base64 included."""


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

    bundle: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 (hex) of the task's bundle."""

    trial_config: dict[str, Any]
    """Harbor's ``TrialConfig`` as JSON, without its defaults, as the producer's plan has it."""

    retry: dict[str, Any] = Field(default_factory=dict)
    """Harbor's ``RetryConfig`` as JSON, without its defaults."""
