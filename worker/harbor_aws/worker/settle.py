"""What becomes of a message at the end of its trial."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from harbor_aws.worker.in_flight import HeldDelivery, InFlight
    from harbor_aws.worker.inbox import Inbox

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 30
"""How long a message that is not to be run now stays hidden, doubled with every further receive."""

MAX_BACKOFF_SECONDS = 3600
"""The most of that: the receives that SQS allows a message (20) then outlast a night in which nobody mends what is
broken (13 h)."""


class Ending(Enum):
    """How a trial's handler ended, as far as its message is concerned."""

    RETURNED = auto()
    """The trial has its ending: the message is deleted."""
    RAISED = auto()
    """Nothing could be recorded: the message comes back after a while."""
    PUT_OFF = auto()
    """Another message of the trial's is being run: this one comes back after a while."""
    HANDED_BACK = auto()
    """This worker stops: the message is visible at once."""
    LOST = auto()
    """The message is somebody else's: it is left alone."""


class Settler:
    """Gives messages back to SQS, one way or the other. Thread-safe; never raises for what SQS does."""

    def __init__(self, *, inbox: Inbox, in_flight: InFlight) -> None:
        self._inbox = inbox
        self._in_flight = in_flight

    def settle(self, held: HeldDelivery, ending: Ending) -> None:
        """Do what the ending asks for, and free the slot whatever comes of it."""
        try:
            match ending:
                case Ending.RETURNED:
                    self._delete(held)
                case Ending.RAISED | Ending.PUT_OFF:
                    self._hide(held, backoff_seconds(held.delivery.receive_count))
                case Ending.HANDED_BACK:
                    self._hide(held, 0)
                case Ending.LOST:
                    pass
        finally:
            self._in_flight.remove(held)

    def settle_unhandled(self, receipt: str) -> None:
        """Celery is done with a message: if no handler ever had it, it comes back after a while."""
        held = self._in_flight.find(receipt)
        if held is not None:
            logger.error("Celery let go of the message of %s, which never ran.", held.name)
            self.settle(held, Ending.RAISED)

    def _delete(self, held: HeldDelivery) -> None:
        try:
            _retrying()(self._inbox.delete, held.receipt)
        except TransientError as error:
            logger.warning(
                "The message of %s was not deleted and will come back; its trial has its ending already: %s",
                held.name, error, extra={"action": "delete_message"},
            )  # fmt: skip

    def _hide(self, held: HeldDelivery, seconds: int) -> None:
        held.settling = True
        with self._in_flight.extending:
            pass  # an extension that is under way would otherwise hide the message anew
        try:
            _retrying()(self._inbox.hide, held.receipt, seconds=seconds)
        except TransientError as error:
            logger.warning(
                "The message of %s could not be given back and comes back when its lease runs out: %s",
                held.name, error, extra={"action": "hide_message"},
            )  # fmt: skip


def backoff_seconds(receive_count: int) -> int:
    """How long a message stays hidden whose handler raised, or whose twin is being run."""
    return min(BACKOFF_SECONDS << max(receive_count - 1, 0), MAX_BACKOFF_SECONDS)


def _retrying() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(4),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        reraise=True,
    )
