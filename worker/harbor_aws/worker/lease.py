"""The lease on messages: they stay hidden from other workers for as long as this process holds them.

SQS shows a message again when its visibility time-out has run out, so the keeper sets it anew, again and again, for
everything in flight, from the receive until the message is settled. A trial whose lease cannot be kept is cancelled
before somebody else may have it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import batched
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from harbor_aws.infra.errors import TransientError, UsageError
from harbor_aws.worker.in_flight import CancelReason
from harbor_aws.worker.inbox import RECEIVE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from harbor_aws.worker.in_flight import HeldDelivery, InFlight
    from harbor_aws.worker.inbox import Inbox

logger = logging.getLogger(__name__)

MAX_HOLD_SECONDS = 12 * 3600
"""SQS keeps a message hidden no longer than this from its receive.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html"""

FIRST_RETRY_SECONDS = 1.0
"""Until the next extension after one that failed; doubled with every further one, up to the usual interval. It is never
more than half of what the first lease to lapse has left, so that a throttling that passes costs no trial."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How long a lease lasts, and how often it is extended."""

    visibility_timeout_seconds: int
    interval_seconds: float

    def __post_init__(self) -> None:
        if self.interval_seconds * 2 > self.visibility_timeout_seconds - self.margin_seconds:
            raise UsageError(
                f"A visibility time-out of {self.visibility_timeout_seconds} s does not outlast two lease intervals of "
                f"{self.interval_seconds:g} s; make HARBOR_AWS_LEASE_INTERVAL_SECONDS shorter."
            )

    @property
    def margin_seconds(self) -> float:
        """How long before SQS shows a message again its trial must have been told: at the usual time-out, longer than
        one request takes to fail."""
        return min(10.0, self.visibility_timeout_seconds / 8)

    def must_end_at(self, held: HeldDelivery) -> float:
        """The monotonic time at which SQS ends the lease whatever is done, less the margin."""
        return held.received_at + MAX_HOLD_SECONDS - self.margin_seconds

    def lapses_at(self, held: HeldDelivery) -> float:
        """The monotonic time at which the lease counts as lost unless it is extended before."""
        return min(
            held.extended_at + self.visibility_timeout_seconds - self.margin_seconds,
            self.must_end_at(held),
        )

    def extension_seconds(self, held: HeldDelivery, now: float) -> int:
        """The visibility to ask for: SQS refuses one that reaches beyond its limit."""
        return min(self.visibility_timeout_seconds, int(held.received_at + MAX_HOLD_SECONDS - now))


class LeaseKeeper:
    """A thread that keeps the leases; a context manager around everything that holds messages."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        in_flight: InFlight,
        terms: LeaseTerms,
        cancel: Callable[[HeldDelivery, CancelReason], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox = inbox
        self._in_flight = in_flight
        self._terms = terms
        self._cancel = cancel
        self._clock = clock
        self._failures = 0
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def tick(self) -> float:
        """Let go of what lapsed, extend the rest; seconds until the next tick is due."""
        self._let_go_of_lapsed()
        self._extend_all()
        lapse = min((self._terms.lapses_at(held) - self._clock() for held in self._kept()), default=float("inf"))
        due = self._terms.interval_seconds
        if self._failures:
            due = min(due, self._retry_seconds(lapse))
        return max(0.0, min(due, lapse))

    def _run(self) -> None:
        wait = self._terms.interval_seconds
        while not self._stopped.wait(wait):
            try:
                wait = self.tick()
            except Exception:
                logger.exception("Keeping the leases failed in a way that was not foreseen.")
                wait = min(FIRST_RETRY_SECONDS, self._terms.interval_seconds)

    def _kept(self) -> list[HeldDelivery]:
        """What is extended, the oldest extension first."""
        kept = (
            held
            for held in self._in_flight.snapshot()
            if held.cancelled is not CancelReason.LEASE_LOST and not held.settling
        )
        return sorted(kept, key=lambda held: held.extended_at)

    def _let_go_of_lapsed(self) -> None:
        now = self._clock()
        for held in self._kept():
            if now >= self._terms.must_end_at(held):
                self._lose(held, f"SQS hides a message for at most {MAX_HOLD_SECONDS // 3600} h")
            elif now >= self._terms.lapses_at(held):
                self._lose(held, f"it was not extended for {now - held.extended_at:.0f} s")

    def _retry_seconds(self, lapse_seconds: float) -> float:
        doubled = FIRST_RETRY_SECONDS * 2.0 ** (min(self._failures, 16) - 1)
        return min(doubled, max(FIRST_RETRY_SECONDS, lapse_seconds / 2))

    def _extend_all(self) -> None:
        """After a request that SQS did not take the rest waits for the next tick."""
        took_all = True
        try:
            for batch in batched(self._kept(), RECEIVE_LIMIT):
                took_all &= self._extend(batch)
        except TransientError as error:
            self._fail(str(error))
        else:
            if took_all:
                self._recover()
            else:
                self._fail("SQS took some of them and not others")

    def _fail(self, why: str) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning(
                "Extending leases failed and is tried again until it works; trials go on for as long as their leases "
                "last: %s",
                why, extra={"action": "extend_leases"},
            )  # fmt: skip

    def _recover(self) -> None:
        if self._failures:
            logger.info(
                "Extending leases works again after %d failures.", self._failures, extra={"action": "extend_leases"}
            )
        self._failures = 0

    def _extend(self, batch: tuple[HeldDelivery, ...]) -> bool:
        with self._in_flight.extending:
            now = self._clock()
            held_by_receipt = {held.receipt: held for held in batch if not held.settling}
            if not held_by_receipt:
                return True
            result = self._inbox.extend(
                {receipt: self._terms.extension_seconds(held, now) for receipt, held in held_by_receipt.items()}
            )
        for receipt in result.extended:
            held_by_receipt[receipt].extended_at = now
        for receipt in result.lost:
            if self._in_flight.find(receipt) is not None:  # else it was deleted meanwhile
                self._lose(held_by_receipt[receipt], "SQS says that the message is no longer this worker's")
        return result.extended | result.lost == held_by_receipt.keys()

    def _lose(self, held: HeldDelivery, why: str) -> None:
        logger.error(
            "The lease on %s is lost (%s); its trial is cancelled here, since another worker may have it.",
            held.name, why, extra={"action": "lose_lease"},
        )  # fmt: skip
        self._cancel(held, CancelReason.LEASE_LOST)
