"""What Celery's side of the worker hands to the trial's side, and what that may raise. Types only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harbor_aws.infra.errors import HarborAwsError

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


class PutOffError(HarborAwsError):
    """A handler's: another message of the trial's is being run. The message comes back after a good while."""


class SupersededError(HarborAwsError):
    """A handler's: another worker has the message meanwhile, which is left alone."""


class TrialHandler(Protocol):
    """Runs a delivered trial to one of its endings.

    Returning means that the trial has its ending (or the next attempt is in the queue): the message is deleted.
    Raising means that nothing could be recorded: the message stays and comes back; see :class:`PutOffError` and
    :class:`SupersededError`. Cancelled with the message
    ``"drain"`` it cleans up and re-raises, and the message is visible again at once; with ``"lease-lost"`` it does
    the same, and the message is left alone, being somebody else's.
    """

    async def __call__(self, delivery: Delivery) -> None: ...
