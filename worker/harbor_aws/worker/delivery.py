"""What Celery's side of the worker hands to the trial's side. Types only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harbor_aws.producer.message import TrialMessage


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as this worker received it."""

    message: TrialMessage
    body: str
    """The SQS body as it came, for a dead letter that can be replayed."""
    receive_count: int
    """SQS's ApproximateReceiveCount."""
    message_id: str | None = None
    """SQS's MessageId, the same at every receive; ``None`` where there is no queue."""


class TrialHandler(Protocol):
    """Runs a delivered trial to one of its endings.

    Returning means that the trial has its ending (or the next attempt is in the queue): the message is deleted.
    Raising means that nothing could be recorded: the message stays and comes back. Cancelled with the message
    ``"drain"`` it cleans up and re-raises, and the message is visible again at once; with ``"lease-lost"`` it does
    the same, and the message is left alone, being somebody else's.
    """

    async def __call__(self, delivery: Delivery) -> None: ...
