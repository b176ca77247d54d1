"""Stopping: what the signals do, in which order, and what they leave."""

from __future__ import annotations

import os
import signal
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker import drain as drain_module
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.drain import Drain
from harbor_aws.worker.in_flight import CancelReason, HeldDelivery, InFlight
from harbor_aws.worker.settle import Settler

if TYPE_CHECKING:
    from collections.abc import Callable


class Bench:
    """A drain over one running trial, which ends when it is cancelled, unless it is stubborn."""

    def __init__(self, *, drain_seconds: float = 600, is_stubborn: bool = False) -> None:
        self.is_stubborn = is_stubborn
        self.in_flight = InFlight(slots=2)
        message = TrialMessage(job="job", trial="trial", bundle="0" * 64, trial_config={})
        self.held = HeldDelivery(Delivery(message, "body", 1), "receipt", received_at=0, extended_at=0)
        self.in_flight.add(self.held)
        self.inbox = FakeInbox()
        self.stopped = Event()
        self.cancelled: list[CancelReason] = []
        self.drain = Drain(
            in_flight=self.in_flight,
            settler=Settler(inbox=self.inbox, in_flight=self.in_flight),  # type: ignore[arg-type]  # a fake
            cancel=self._cancel,
            stop_consuming=self.stopped.set,
            drain_seconds=drain_seconds,
        )

    def _cancel(self, held: HeldDelivery, reason: CancelReason) -> None:
        self.cancelled.append(reason)
        if not self.is_stubborn:
            self.in_flight.remove(held)


class FakeInbox:
    """Remembers what was hidden."""

    def __init__(self) -> None:
        self.hidden: list[tuple[str, int]] = []

    def hide(self, receipt: str, *, seconds: int) -> None:
        self.hidden.append((receipt, seconds))


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_trials_may_end_within_the_drain() -> None:
    """After SIGTERM nothing is taken, and consuming ends once the last trial did, uncancelled."""
    bench = Bench()
    with bench.drain:
        send(signal.SIGTERM)
        assert bench.in_flight.wait_until_closed(10)
        assert not bench.stopped.wait(0.3)
        bench.in_flight.remove(bench.held)
        assert bench.stopped.wait(10)
    assert bench.cancelled == []
    assert bench.drain.is_clean


@pytest.mark.parametrize(
    ("drain_seconds", "signals"),
    [
        (0.2, [signal.SIGTERM]),
        (600, [signal.SIGTERM, signal.SIGTERM]),
        (600, [signal.SIGINT, signal.SIGINT]),
        (600, [signal.SIGTERM, signal.SIGQUIT]),
        (600, [signal.SIGQUIT]),
    ],
)
def test_trials_are_handed_back(drain_seconds: float, signals: list[signal.Signals]) -> None:
    """When the drain is over, or a second signal or SIGQUIT cuts it short, trials are cancelled to be handed back."""
    bench = Bench(drain_seconds=drain_seconds)
    with bench.drain:
        for each in signals:
            send(each)
        assert bench.stopped.wait(10)
    assert bench.cancelled == [CancelReason.DRAIN]
    assert bench.drain.is_clean


@pytest.mark.parametrize("ends", [lambda bench: None, lambda bench: bench.drain.abort()])
def test_an_end_that_nobody_asked_for_is_not_clean(ends: Callable[[Bench], None]) -> None:
    """Consuming that ended by itself, or an abort, hands everything back too, and says so."""
    bench = Bench()
    with bench.drain:
        ends(bench)
    assert bench.cancelled == [CancelReason.DRAIN]
    assert not bench.drain.is_clean


def test_the_signals_are_given_back() -> None:
    """Afterwards the process has the handlers that it had."""
    before = signal.getsignal(signal.SIGTERM)
    bench = Bench()
    with bench.drain:
        assert signal.getsignal(signal.SIGTERM) != before
        Thread(target=bench.drain.abort).start()
        assert bench.stopped.wait(10)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stubborn_trial_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that ignores its cancellation is given back all the same, and the process ends with 1."""
    exits: list[int] = []
    monkeypatch.setattr(drain_module, "CLEANUP_SECONDS", 0.1)
    monkeypatch.setattr("os._exit", exits.append)
    monkeypatch.setattr("logging.shutdown", lambda: None)
    bench = Bench(is_stubborn=True)
    with bench.drain:
        send(signal.SIGQUIT)
        assert bench.stopped.wait(10)
    assert exits == [1]
    assert bench.inbox.hidden == [("receipt", 0)]
