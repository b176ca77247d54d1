"""How a worker stops: it takes nothing more, lets its trials go on for a while, and hands the rest back."""

from __future__ import annotations

import logging
import os
import signal
import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from harbor_aws.worker.in_flight import CancelReason
from harbor_aws.worker.settle import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from harbor_aws.worker.in_flight import HeldDelivery, InFlight
    from harbor_aws.worker.settle import Settler

logger = logging.getLogger(__name__)

CLEANUP_SECONDS = 20
"""How long cancelled trials may take to clean up. A pod's ``terminationGracePeriodSeconds`` must exceed the drain by
this and one poll."""

_TICK_SECONDS = 0.1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Drain:
    """Watches for signals; a context manager around consuming, to be entered in the main thread.

    Args:
        stop_consuming: ends the consumer; called when nothing is in flight any more.
        drain_seconds: how long trials go on after a first SIGTERM or SIGINT. A second one, or SIGQUIT, cuts it short.
    """

    def __init__(
        self,
        *,
        in_flight: InFlight,
        settler: Settler,
        cancel: Callable[[HeldDelivery, CancelReason], None],
        stop_consuming: Callable[[], None],
        drain_seconds: float,
    ) -> None:
        self._in_flight = in_flight
        self._settler = settler
        self._cancel = cancel
        self._stop_consuming = stop_consuming
        self._drain_seconds = drain_seconds
        self._requests: SimpleQueue[signal.Signals | None] = SimpleQueue()
        self._previous: dict[signal.Signals, Any] = {}
        self._thread = Thread(target=self._watch, name="drain", daemon=True)
        self.is_clean = False
        """Whether the worker ended because it was told to, with every message settled."""

    def __enter__(self) -> Self:
        self._previous = {each: signal.signal(each, self._on_signal) for each in _SIGNALS}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give back whatever is left, which is nothing unless consuming ended by itself."""
        self._requests.put(None)
        self._thread.join()
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def abort(self) -> None:
        """The worker cannot go on: hand everything back at once. Thread-safe."""
        self._requests.put(None)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Only what is safe wherever the main thread happens to be."""
        self._requests.put(signal.Signals(number))

    def _watch(self) -> None:
        first = self._requests.get()
        self._in_flight.close()
        running = len(self._in_flight)
        patience = self._drain_seconds if first in (signal.SIGTERM, signal.SIGINT) else 0.0
        if first is not None:
            self._announce(first, running, patience)
        if not self._wait_for_trials(patience):
            self._hand_back()
        self.is_clean = first is not None
        self._stop_consuming()

    def _announce(self, request: signal.Signals, running: int, patience: float) -> None:
        again = " Press Ctrl-C again to hand them back now." if request is signal.SIGINT and running else ""
        logger.info(
            "Stopping on %s: nothing more is received; %d running trials may go on for %.0f s and are then handed "
            "back to the queue.%s",
            request.name, running, patience, again, extra={"action": "drain"},
        )  # fmt: skip

    def _wait_for_trials(self, seconds: float) -> bool:
        """Whether all ended in time and before the next request."""
        deadline = time.monotonic() + seconds
        while not self._in_flight.wait_until_empty(_TICK_SECONDS):
            try:
                self._requests.get_nowait()
            except Empty:
                if time.monotonic() < deadline:
                    continue
            return False
        return True

    def _hand_back(self) -> None:
        held = self._in_flight.snapshot()
        logger.info("Handing %d trials back to the queue.", len(held), extra={"action": "hand_back"})
        for each in held:
            self._cancel(each, CancelReason.DRAIN)
        if not self._in_flight.wait_until_empty(CLEANUP_SECONDS):
            self._give_up()

    def _give_up(self) -> None:
        """Trials that ignore their cancellation hold threads that nothing can end."""
        for each in self._in_flight.snapshot():
            logger.error("The trial %s did not end within %d s of being cancelled.", each.name, CLEANUP_SECONDS)
            self._settler.settle(each, Ending.HANDED_BACK)
        logging.shutdown()
        os._exit(1)
