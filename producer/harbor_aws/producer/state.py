"""What the bucket holds of a trial: where it is, and its committed result.

Written by workers, and by ``dlq`` for dead letters; read by ``status``.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from harbor_aws.producer.usage import Consumption, PodUsage, consumption, total


class Phase(StrEnum):
    """Where a trial is. A trial without a state is still in the queue, and counted as queued."""

    QUEUED = "queued"
    """It is put back from the dead-letter queue, and no worker has it yet."""
    STARTING = "starting"
    """A worker has it; its pod is being made, and its agent installed."""
    AGENT = "agent"
    """The agent runs."""
    VERIFIER = "verifier"
    """The verifier runs."""
    COLLECTING = "collecting"
    """Harbor is done; what the attempt left is being uploaded and committed."""
    RETRYING = "retrying"
    """The infrastructure failed it; the next attempt is in the queue."""
    HANDED_BACK = "handed-back"
    """Its worker was told to stop; the same attempt is in the queue again."""
    COMMITTED = "committed"
    """It has a result, which is what says so: no state of this phase is written."""
    DEAD = "dead"
    """It is in the dead-letter queue."""

    @property
    def is_in_flight(self) -> bool:
        """Whether a worker has the trial."""
        return self in _IN_FLIGHT


_IN_FLIGHT = frozenset({Phase.STARTING, Phase.AGENT, Phase.VERIFIER, Phase.COLLECTING})


class TrialState(BaseModel):
    """Where a trial is now; overwritten as it moves."""

    model_config = ConfigDict(frozen=True)

    trial: str
    phase: Phase
    attempt: int
    replay: int = 0
    """Which replay the attempt belongs to; see :class:`~harbor_aws.producer.message.TrialMessage`."""
    message_id: str | None = None
    """SQS's MessageId of the message that the attempt came with."""
    attempt_id: str | None = None
    pod: str | None = None
    worker: str
    """Who had it last; the command that put it back, if nobody has it."""
    since: datetime
    """When this phase began (UTC)."""
    reason: str | None = None
    """Why it is retrying or dead: the exception's class and message."""
    logs: str | None = None
    """Key of the archive that the last failed attempt left; that of one that was handed back expires."""
    pods: list[PodUsage] = []
    """The attempt's pods so far."""
    consumed: Consumption | None = None
    """What was consumed before the attempt's pods; ``None`` if an older version wrote this, which did not know."""

    def consumption(self, *, now: datetime) -> Consumption | None:
        """What the trial has consumed by now; ``None`` if that is not known.

        No pod is taken to have lived on after its worker was done with it.
        """
        if self.consumed is None:
            return None
        until = now if self.phase.is_in_flight else self.since
        return self.consumed + total(consumption(pod, now=until) for pod in self.pods)


class ReplayMarker(BaseModel):
    """The one message that counts of a trial's replay, whoever sent how many."""

    model_config = ConfigDict(frozen=True)

    message_id: str
    """SQS's MessageId."""
    marked_at: datetime


class CommittedResult(BaseModel):
    """The one result of a trial."""

    model_config = ConfigDict(frozen=True)

    trial: str
    attempt: int
    retries: int | None = None
    """Attempts before it that failed, and did not only wait or were disrupted; ``None`` if an older version wrote
    this."""
    attempt_id: str
    archive: str
    """Key of the archive of the attempt's trial directory."""
    worker: str
    committed_at: datetime
    rewards: dict[str, float | int] | None
    """What the verifier gave; ``None`` when it gave nothing."""
    exception_type: str | None = None
    """The exception that Harbor recorded as part of the result, such as ``AgentTimeoutError``."""
    pods: list[PodUsage] = []
    """The pods of the attempt that this is the result of."""
    consumed: Consumption | None = None
    """What the whole trial has consumed, in all its attempts; ``None`` if an older version wrote this."""
    result: dict[str, Any]
    """Harbor's ``TrialResult`` as JSON."""
