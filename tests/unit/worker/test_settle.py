"""What each ending does to the message, also when SQS fails."""

from __future__ import annotations

import pytest

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.local.services import MAX_RECEIVES
from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.in_flight import HeldDelivery, InFlight
from harbor_aws.worker.settle import Ending, Settler, backoff_seconds


class FakeInbox:
    """Fails so many requests, then does and remembers them."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.done: list[tuple[str, int | None]] = []

    def delete(self, receipt: str) -> None:
        self._answer(receipt, None)

    def hide(self, receipt: str, *, seconds: int) -> None:
        self._answer(receipt, seconds)

    def _answer(self, receipt: str, seconds: int | None) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("HTTP 500")
        self.done.append((receipt, seconds))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _seconds: None)


def settled(ending: Ending, *, failures: int = 0, receives: int = 1) -> tuple[FakeInbox, InFlight, HeldDelivery]:
    message = TrialMessage(job="job", trial="trial", bundle="0" * 64, trial_config={})
    held = HeldDelivery(Delivery(message, "body", receives), "receipt", received_at=0, extended_at=0)
    in_flight = InFlight(slots=1)
    in_flight.add(held)
    inbox = FakeInbox(failures=failures)
    Settler(inbox=inbox, in_flight=in_flight).settle(held, ending)  # type: ignore[arg-type]  # a fake with the behaviour
    return inbox, in_flight, held


@pytest.mark.parametrize("failures", [0, 2])
@pytest.mark.parametrize(
    ("ending", "done"),
    [
        (Ending.RETURNED, [("receipt", None)]),
        (Ending.RAISED, [("receipt", 120)]),
        (Ending.PUT_OFF, [("receipt", 120)]),
        (Ending.HANDED_BACK, [("receipt", 0)]),
        (Ending.LOST, []),
    ],
)
def test_each_ending(ending: Ending, done: list[tuple[str, int | None]], failures: int) -> None:
    """Deleted, hidden for a while, shown at once or left alone; a failure or two of SQS changes nothing."""
    inbox, in_flight, held = settled(ending, failures=failures, receives=3)
    assert inbox.done == done
    assert len(in_flight) == 0
    assert held.settling == (ending in {Ending.RAISED, Ending.PUT_OFF, Ending.HANDED_BACK})


@pytest.mark.parametrize("ending", list(Ending))
def test_the_slot_is_freed_when_sqs_does_not_answer(ending: Ending, caplog: pytest.LogCaptureFixture) -> None:
    """A message that cannot be settled is logged once and comes back by itself; the slot goes on."""
    inbox, in_flight, _ = settled(ending, failures=100)
    assert inbox.done == []
    assert len(in_flight) == 0
    assert len(caplog.records) == (0 if ending is Ending.LOST else 1)


def test_celery_cannot_lose_a_message_that_never_ran() -> None:
    """An acknowledgement without an ending brings the message back; one after its ending does nothing."""
    message = TrialMessage(job="job", trial="trial", bundle="0" * 64, trial_config={})
    held = HeldDelivery(Delivery(message, "body", 1), "receipt", received_at=0, extended_at=0)
    in_flight = InFlight(slots=1)
    in_flight.add(held)
    inbox = FakeInbox()
    settler = Settler(inbox=inbox, in_flight=in_flight)  # type: ignore[arg-type]  # a fake with the behaviour
    settler.settle_unhandled("receipt")
    settler.settle_unhandled("receipt")
    assert inbox.done == [("receipt", 30)]


@pytest.mark.parametrize(("receives", "seconds"), [(0, 30), (1, 30), (2, 60), (7, 1920), (8, 3600), (1000, 3600)])
def test_backoff(receives: int, seconds: int) -> None:
    """It doubles with every receive up to an hour."""
    assert backoff_seconds(receives) == seconds


def test_what_is_broken_at_night_makes_no_dead_letters() -> None:
    """SQS gives a message up after its last receive: before that one ten hours have passed."""
    assert sum(backoff_seconds(receives) for receives in range(1, MAX_RECEIVES)) > 10 * 3600
