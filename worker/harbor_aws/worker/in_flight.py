"""The messages that this process has received and not yet settled: the one register of its slots."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from threading import Condition, Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from harbor_aws.worker.delivery import Delivery


class CancelReason(StrEnum):
    """Why a trial is cancelled; also the message of the ``CancelledError`` that it sees."""

    DRAIN = "drain"
    LEASE_LOST = "lease-lost"


@dataclass(eq=False, slots=True)
class HeldDelivery:
    """A delivery with its lease. The times are ``time.monotonic()``."""

    delivery: Delivery
    receipt: str
    """SQS's receipt handle, which names this one receive of the message."""
    received_at: float
    extended_at: float
    """When its visibility was last set: by the receive itself, then by each extension that succeeded."""
    cancelled: CancelReason | None = None
    task: asyncio.Task[None] | None = None
    """The running trial; touched on the loop alone."""
    settling: bool = False
    """Its visibility is about to be set for the last time: it is extended no more."""

    @property
    def name(self) -> str:
        """For log lines."""
        message = self.delivery.message
        return f"{message.job}/{message.trial}"


class InFlight:
    """Thread-safe. Once closed it takes no more and only shrinks."""

    def __init__(self, *, slots: int) -> None:
        self._slots = slots
        self._held: dict[str, HeldDelivery] = {}
        self._closed = False
        self._changed = Condition()
        self.extending = Lock()
        """Held while a batch of extensions is under way, so that none overtakes a message's last visibility."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def closed(self) -> bool:
        return self._closed

    def room(self) -> int:
        """Free slots; none once closed."""
        with self._changed:
            return 0 if self._closed else self._slots - len(self._held)

    def wait_for_room(self, seconds: float) -> None:
        """Wait for a free slot, or for the end of that."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._held) < self._slots, seconds)

    def wait_until_empty(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, seconds)

    def wait_until_closed(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    def add(self, held: HeldDelivery) -> bool:
        """Take a delivery; ``False`` if closed meanwhile, and then it must be released."""
        with self._changed:
            if self._closed:
                return False
            self._held[held.receipt] = held
            return True

    def of_trial(self, delivery: Delivery) -> HeldDelivery | None:
        """The held delivery of the same job and trial, if there is one."""
        trial = (delivery.message.job, delivery.message.trial)
        same = (held for held in self.snapshot() if (held.delivery.message.job, held.delivery.message.trial) == trial)
        return next(same, None)

    def find(self, receipt: str) -> HeldDelivery | None:
        return self._held.get(receipt)

    def remove(self, held: HeldDelivery) -> None:
        with self._changed:
            self._held.pop(held.receipt, None)
            self._changed.notify_all()

    def snapshot(self) -> list[HeldDelivery]:
        with self._changed:
            return list(self._held.values())

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
