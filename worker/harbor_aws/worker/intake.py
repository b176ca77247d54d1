"""How messages come in: received as slots are free, checked, and held from then on."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError, TransientError
from harbor_aws.infra.queues import OutgoingMessage
from harbor_aws.producer.celery_message import UndecodableMessageError, decode
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.in_flight import CancelReason, HeldDelivery
from harbor_aws.worker.inbox import POLL_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from harbor_aws.infra.queues import Queue
    from harbor_aws.worker.fitness import Fitness
    from harbor_aws.worker.in_flight import InFlight
    from harbor_aws.worker.inbox import Inbox, ReceivedMessage

logger = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 30
"""Between two polls while SQS fails them."""

_PROMPT_SECONDS = 2
"""What a poll may take beyond its wait before its messages are counted as held since it began: a process that was
frozen in a poll wakes up with messages whose visibility has run meanwhile."""

_DUPLICATE_SECONDS = 60
"""How long a message stays hidden whose trial runs in this process already, doubled with every further receive."""

_MAX_DUPLICATE_SECONDS = 3600
"""The most of that: the receives that SQS allows a message (20) then outlast the longest trial (12 h)."""

_LAPSED_SECONDS = 20
"""How long a message stays hidden whose trial still runs in this process, but has lost its lease, as after a time in
which the process was frozen: it is being cancelled, and this message may be all that is left of it."""

_STOPPING_SECONDS = 0.1
"""Between two looks of Celery's loop while a worker that takes nothing more waits for its trials."""


class Intake:
    """Not thread-safe: one thread receives.

    Args:
        fitness: while this process is not fit it receives nothing.
        alive_file: its modification time is the last moment at which this worker received, or had no need to.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        in_flight: InFlight,
        dead_letters: Queue,
        fitness: Fitness,
        visibility_timeout_seconds: int,
        alive_file: Path | None = None,
    ) -> None:
        self._inbox = inbox
        self._in_flight = in_flight
        self._dead_letters = dead_letters
        self._fitness = fitness
        self._visibility_timeout_seconds = visibility_timeout_seconds
        self._alive_file = alive_file
        self._failures = 0

    def take(self, seconds: float) -> list[HeldDelivery]:
        """New deliveries, now held; none if for so many seconds no slot is free or this process is not fit, or SQS
        fails, or nothing comes."""
        self._in_flight.wait_for_room(seconds)
        room = self._in_flight.room()
        if not room:
            self._touch()
            if self._in_flight.closed:
                time.sleep(_STOPPING_SECONDS)
            return []
        if not self._fitness.is_fit():
            self._touch()
            self._in_flight.wait_until_closed(seconds)
            return []
        began = time.monotonic()
        try:
            messages = self._inbox.receive(room, visibility_timeout_seconds=self._visibility_timeout_seconds)
        except TransientError as error:
            self._back_off(error)
            return []
        self._recover()
        now = time.monotonic()
        held_since = now if now - began < POLL_SECONDS + _PROMPT_SECONDS else began
        return self._hold(messages, held_since=held_since)

    def _hold(self, messages: list[ReceivedMessage], *, held_since: float) -> list[HeldDelivery]:
        taken: list[HeldDelivery] = []
        undecodable: list[tuple[ReceivedMessage, UndecodableMessageError]] = []
        for message in messages:
            try:
                delivery = Delivery(decode(message.body), message.body, message.receive_count, message.message_id)
            except UndecodableMessageError as error:
                undecodable.append((message, error))
                continue
            if running := self._in_flight.of_trial(delivery):
                self._put_off(message, running)
                continue
            held = HeldDelivery(delivery, message.receipt, received_at=held_since, extended_at=held_since)
            if self._in_flight.add(held):
                taken.append(held)
            else:
                self._release(message)
        for message, flaw in undecodable:
            self._quarantine(message, flaw)
        return taken

    def _put_off(self, message: ReceivedMessage, running: HeldDelivery) -> None:
        """Two attempts at one trial in one process would delete each other's pods. The message is not dropped, since
        the one that runs may still come to nothing; if it comes to an ending, this one will find that."""
        has_lapsed = time.monotonic() - running.extended_at >= self._visibility_timeout_seconds
        is_ending = has_lapsed or running.cancelled is CancelReason.LEASE_LOST
        seconds = _LAPSED_SECONDS if is_ending else duplicate_seconds(message.receive_count)
        logger.info(
            "Another message of %s, which runs here already, was put off for %d s.",
            running.name, seconds, extra={"action": "put_off_duplicate"},
        )  # fmt: skip
        try:
            self._inbox.hide(message.receipt, seconds=seconds)
        except TransientError as error:
            logger.warning("A second message of %s was not put off; it comes back by itself: %s", running.name, error)

    def _release(self, message: ReceivedMessage) -> None:
        """A last poll brought a message after this worker was told to stop."""
        try:
            self._inbox.hide(message.receipt, seconds=0)
        except TransientError as error:
            logger.warning("A message that came while stopping was not released; it comes back by itself: %s", error)

    def _quarantine(self, message: ReceivedMessage, flaw: UndecodableMessageError) -> None:
        """Move a message that nobody can run to the dead-letter queue; if that fails, it stays and comes back."""
        attributes = {
            "cause": type(flaw).__name__,
            "reason": str(flaw),
            "at": datetime.now(UTC).isoformat(),
        }
        try:
            self._dead_letters.send([OutgoingMessage(message.body, attributes)])
            self._inbox.delete(message.receipt)
        except HarborAwsError as failure:
            logger.error("A message that cannot be run (%s) was left in the queue: %s", flaw, failure)
        else:
            logger.error(
                "A message that cannot be run went to the dead-letter queue: %s",
                flaw, extra={"action": "quarantine_message"},
            )  # fmt: skip

    def _back_off(self, error: TransientError) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("Receiving failed and is tried again until it works: %s", error)
        self._in_flight.wait_until_closed(min(2.0 ** (self._failures - 1), MAX_BACKOFF_SECONDS))

    def _recover(self) -> None:
        if self._failures:
            logger.info("Receiving works again after %d failures.", self._failures)
        self._failures = 0
        self._touch()

    def _touch(self) -> None:
        if self._alive_file is not None:
            self._alive_file.touch()


def duplicate_seconds(receive_count: int) -> int:
    """How long a message stays hidden whose trial runs in this process already."""
    return min(_DUPLICATE_SECONDS << max(receive_count - 1, 0), _MAX_DUPLICATE_SECONDS)
