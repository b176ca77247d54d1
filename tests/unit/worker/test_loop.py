"""The loop of all trials: how each one's end becomes an ending."""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker.delivery import Delivery, PutOffError, SupersededError
from harbor_aws.worker.in_flight import CancelReason, HeldDelivery
from harbor_aws.worker.loop import TrialLoop
from harbor_aws.worker.settle import Ending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harbor_aws.worker.delivery import TrialHandler
    from harbor_aws.worker.loop import OpenHandler


class Handler:
    """Does what the trial's name says, and notes what it was cancelled with."""

    def __init__(self) -> None:
        self.running = Event()
        self.cancelled_with: list[object] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.running.set()
        match delivery.message.trial:
            case "raises":
                raise ValueError("a bug")
            case "exits":
                raise SystemExit(1)
            case "cancels-itself":
                raise asyncio.CancelledError
            case "is-put-off":
                raise PutOffError("a twin runs")
            case "is-superseded":
                raise SupersededError("another has it")
            case "sleeps" | "ends-anyway" | "raises-in-cleanup":
                await self._sleep(delivery.message.trial)

    async def _sleep(self, trial: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            self.cancelled_with += error.args
            if trial == "raises-in-cleanup":
                raise ValueError("a bug in the cleanup") from error
            if trial == "sleeps":
                raise


def opening(handler: TrialHandler) -> OpenHandler:
    @asynccontextmanager
    async def open_handler() -> AsyncIterator[TrialHandler]:
        yield handler

    return open_handler


def held(trial: str) -> HeldDelivery:
    message = TrialMessage(job="job", trial=trial, bundle="0" * 64, trial_config={})
    return HeldDelivery(Delivery(message, "body", 1), "receipt", received_at=0, extended_at=0)


def not_dead() -> None:
    raise AssertionError("the loop died")


def cancelled(trial: str, *reasons: CancelReason) -> tuple[Ending, Handler]:
    """Run a trial, cancel it once it runs, for each reason in turn."""
    handler = Handler()
    with TrialLoop(opening(handler), on_death=not_dead) as loop, ThreadPoolExecutor(1) as pool:
        delivery = held(trial)
        ending = pool.submit(loop.run, delivery)
        assert handler.running.wait(10)
        for reason in reasons:
            loop.cancel(delivery, reason)
        return ending.result(10), handler


@pytest.mark.parametrize(
    ("trial", "ending"),
    [
        ("returns", Ending.RETURNED),
        ("raises", Ending.RAISED),
        ("exits", Ending.RAISED),
        ("cancels-itself", Ending.RAISED),
        ("is-put-off", Ending.PUT_OFF),
        ("is-superseded", Ending.LOST),
    ],
)
def test_an_uncancelled_trial(trial: str, ending: Ending) -> None:
    """It returned or it did not; even SystemExit ends its own trial alone."""
    with TrialLoop(opening(Handler()), on_death=not_dead) as loop:
        assert loop.run(held(trial)) is ending
        assert loop.run(held("returns")) is Ending.RETURNED


@pytest.mark.parametrize(
    ("trial", "reason", "ending"),
    [
        ("sleeps", CancelReason.DRAIN, Ending.HANDED_BACK),
        ("sleeps", CancelReason.LEASE_LOST, Ending.LOST),
        ("raises-in-cleanup", CancelReason.DRAIN, Ending.HANDED_BACK),
        ("raises-in-cleanup", CancelReason.LEASE_LOST, Ending.LOST),
        ("ends-anyway", CancelReason.DRAIN, Ending.RETURNED),
        ("ends-anyway", CancelReason.LEASE_LOST, Ending.RETURNED),
    ],
)
def test_a_cancelled_trial(trial: str, reason: CancelReason, ending: Ending) -> None:
    """The handler sees why, and the reason decides about the message unless the trial ended all the same."""
    got, handler = cancelled(trial, reason)
    assert got is ending
    assert handler.cancelled_with == [reason]


def test_it_is_cancelled_once() -> None:
    """A second reason does not interrupt the cleanup; a lost lease wins over a drain, whichever came first."""
    for reasons in (
        (CancelReason.DRAIN, CancelReason.LEASE_LOST),
        (CancelReason.LEASE_LOST, CancelReason.DRAIN),
    ):
        ending, handler = cancelled("sleeps", *reasons)
        assert ending is Ending.LOST
        assert len(handler.cancelled_with) == 1


def test_a_trial_cancelled_before_it_ran_does_not_run() -> None:
    """A delivery that waits for its slot is handed back unseen."""
    handler = Handler()
    with TrialLoop(opening(handler), on_death=not_dead) as loop:
        delivery = held("sleeps")
        loop.cancel(delivery, CancelReason.DRAIN)
        assert loop.run(delivery) is Ending.HANDED_BACK
    assert not handler.running.is_set()


@pytest.mark.parametrize("when", ["open", "close"])
def test_the_handlers_own_failure_is_raised(when: str) -> None:
    """What opening or closing the handler raises reaches whoever runs the worker."""

    @asynccontextmanager
    async def failing() -> AsyncIterator[TrialHandler]:
        if when == "open":
            raise ValueError(when)
        yield Handler()
        raise ValueError(when)

    with pytest.raises(ValueError, match=when), TrialLoop(failing, on_death=not_dead):
        assert when == "close"


def test_a_dead_loop_is_told_and_hands_back() -> None:
    """If the loop itself ends, its trials are handed back and the worker learns of it."""
    died = Event()
    handler = Handler()
    with (  # noqa: PT012 - it is raised on leaving the loop
        ThreadPoolExecutor(1) as pool,
        pytest.raises(SystemExit),
        TrialLoop(opening(handler), on_death=died.set) as loop,
    ):
        running = pool.submit(loop.run, held("sleeps"))
        assert handler.running.wait(10)
        loop._loop.call_soon_threadsafe(_exit)
        assert died.wait(10)
        assert running.result(10) is Ending.HANDED_BACK
        wait_for(lambda: not loop._thread.is_alive())
        assert loop.run(held("returns")) is Ending.HANDED_BACK


def _exit() -> None:
    raise SystemExit(1)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_is_told_to_end_while_it_opens_closes_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's SystemExit gets through, but not before the handler was closed."""
    waiting, signalled, closed = Event(), Event(), Event()

    @asynccontextmanager
    async def open_handler() -> AsyncIterator[TrialHandler]:
        assert await asyncio.to_thread(signalled.wait, 10)
        yield Handler()
        closed.set()

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    def signal_when_waited_for() -> None:
        assert waiting.wait(10)
        signal.raise_signal(signal.SIGUSR1)
        signalled.set()

    loop = TrialLoop(open_handler, on_death=lambda: None)
    wait = loop._opened.result

    def wait_for_opening() -> object:
        waiting.set()
        return wait()

    previous = signal.signal(signal.SIGUSR1, end)
    monkeypatch.setattr(loop._opened, "result", wait_for_opening)
    signalling = Thread(target=signal_when_waited_for)
    signalling.start()
    try:
        with pytest.raises(SystemExit), loop:
            pytest.fail("it was opened")
    finally:
        signalling.join()
        signal.signal(signal.SIGUSR1, previous)
    assert closed.is_set()
