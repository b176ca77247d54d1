"""The one asyncio loop of a worker process, in a thread of its own, in which all its trials live."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Self

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.worker.delivery import PutOffError, SupersededError
from harbor_aws.worker.in_flight import CancelReason
from harbor_aws.worker.settle import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from harbor_aws.worker.delivery import Delivery, TrialHandler
    from harbor_aws.worker.in_flight import HeldDelivery

    OpenHandler = Callable[[], AbstractAsyncContextManager[TrialHandler]]

logger = logging.getLogger(__name__)


class TrialAskedToExitError(HarborAwsError):
    """A trial raised SystemExit or KeyboardInterrupt, which would have ended the process and all its trials."""


class TrialLoop:
    """Runs deliveries; a context manager around the life of the loop and of the handler that is opened on it.

    Args:
        on_death: called from the loop's thread if the loop ends before it was asked to.
    """

    def __init__(self, open_handler: OpenHandler, *, on_death: Callable[[], None]) -> None:
        self._open_handler = open_handler
        self._on_death = on_death
        self._opened: Future[tuple[asyncio.AbstractEventLoop, TrialHandler]] = Future()
        self._closed: Future[None] = Future()
        self._stop = asyncio.Event()
        self._thread = Thread(target=self._live, name="trials", daemon=True)
        self._cancelling = Lock()

    def __enter__(self) -> Self:
        """Start the loop and open the handler; what opening raises is raised here.

        So is a SystemExit that a signal's handler raises meanwhile, once the handler is open and closed again.
        """
        self._thread.start()
        try:
            self._loop, self._handler = self._opened.result()
        except SystemExit:
            self._loop, self._handler = self._opened.result()
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the handler and end the loop; what closing raises is raised here."""
        with suppress(RuntimeError):  # the loop died before
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._closed.result()

    def run(self, held: HeldDelivery) -> Ending:
        """Block until the delivery's trial ended."""
        if not self._thread.is_alive():
            return Ending.HANDED_BACK
        try:
            return asyncio.run_coroutine_threadsafe(self._supervise(held), self._loop).result()
        except CancelledError:
            return Ending.HANDED_BACK

    def cancel(self, held: HeldDelivery, reason: CancelReason) -> None:
        """Cancel a delivery's trial, once; a lost lease also overrides a hand-back that is under way. Thread-safe."""
        with self._cancelling:
            is_first = held.cancelled is None
            if held.cancelled is not CancelReason.LEASE_LOST:
                held.cancelled = reason
        if is_first:
            with suppress(RuntimeError):  # the loop died, and its trials with it
                self._loop.call_soon_threadsafe(_cancel_task, held)

    def _live(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whatever ended the loop is raised in the main thread
            if not self._opened.done():
                self._opened.set_exception(error)
                return
            self._closed.set_exception(error)
        else:
            self._closed.set_result(None)
        if not self._stop.is_set():
            self._on_death()

    async def _serve(self) -> None:
        async with self._open_handler() as handler:
            self._opened.set_result((asyncio.get_running_loop(), handler))
            await self._stop.wait()

    async def _supervise(self, held: HeldDelivery) -> Ending:
        if held.cancelled is None:
            held.task = asyncio.create_task(_contained(self._handler, held.delivery), name=held.name)
            await asyncio.wait({held.task})
        return _ending_of(held)


async def _contained(handler: TrialHandler, delivery: Delivery) -> None:
    try:
        await handler(delivery)
    except (SystemExit, KeyboardInterrupt) as error:
        raise TrialAskedToExitError(f"The trial raised {error!r}.") from error


def _cancel_task(held: HeldDelivery) -> None:
    if held.task is not None:
        held.task.cancel(held.cancelled)


def _ending_of(held: HeldDelivery) -> Ending:
    failure: BaseException | None = asyncio.CancelledError()
    if held.task is not None and not held.task.cancelled():
        failure = held.task.exception()
        if failure is None:
            # Cancelled or not, the trial has its ending: a drain came while it was being recorded, or after. That holds
            # for a lost lease too. The receipt may then delete nothing, or take the message from another worker, whose
            # work could only be thrown away; left alone, the message of a trial to be tried again would run it twice.
            return Ending.RETURNED
        if isinstance(failure, SupersededError):
            logger.info("%s", failure)
            return Ending.LOST
        if isinstance(failure, PutOffError) and held.cancelled is not CancelReason.LEASE_LOST:
            logger.info("%s", failure)
            return Ending.PUT_OFF
    match held.cancelled:
        case CancelReason.LEASE_LOST:
            ending = Ending.LOST
        case CancelReason.DRAIN:
            ending = Ending.HANDED_BACK
        case None:
            ending = Ending.RAISED
    if ending is Ending.RAISED or not isinstance(failure, asyncio.CancelledError):
        logger.error(
            "The trial %s ended without an ending that could be recorded; its message comes back.",
            held.name, exc_info=failure, extra={"action": "trial_raised"},
        )  # fmt: skip
    return ending
