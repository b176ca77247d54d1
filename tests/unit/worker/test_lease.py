"""The lease: what is extended, when it is given up, and what SQS's refusals mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import TransientError, UsageError
from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.in_flight import CancelReason, HeldDelivery, InFlight
from harbor_aws.worker.inbox import ExtensionResult
from harbor_aws.worker.lease import MAX_HOLD_SECONDS, LeaseKeeper, LeaseTerms

if TYPE_CHECKING:
    from collections.abc import Mapping

TERMS = LeaseTerms(visibility_timeout_seconds=120, interval_seconds=40)


class FakeInbox:
    """Extends what it is told to, and remembers for how long."""

    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.lost: set[str] = set()
        self.refused: set[str] = set()
        self.broken = False
        self.requests = 0

    def extend(self, visibility_timeouts: Mapping[str, int]) -> ExtensionResult:
        self.requests += 1
        if self.broken:
            raise TransientError("no answer")
        self.batches.append(dict(visibility_timeouts))
        receipts = frozenset(visibility_timeouts)
        return ExtensionResult(extended=receipts - self.lost - self.refused, lost=receipts & self.lost)


class Bench:
    """A keeper whose clock stands still until it is moved."""

    def __init__(self, count: int = 1) -> None:
        self.now = 1000.0
        self.inbox = FakeInbox()
        self.in_flight = InFlight(slots=100)
        self.held = [held(f"r{number}", at=self.now) for number in range(count)]
        for each in self.held:
            self.in_flight.add(each)
        self.keeper = LeaseKeeper(
            inbox=self.inbox,  # type: ignore[arg-type]  # a fake with the behaviour
            in_flight=self.in_flight,
            terms=TERMS,
            cancel=self._cancel,
            clock=lambda: self.now,
        )

    def _cancel(self, held: HeldDelivery, reason: CancelReason) -> None:
        held.cancelled = reason

    def tick(self, *, after: float) -> float:
        self.now += after
        return self.keeper.tick()


def held(receipt: str, *, at: float) -> HeldDelivery:
    message = TrialMessage(job="job", trial=receipt, bundle="0" * 64, trial_config={})
    return HeldDelivery(Delivery(message, "body", 1), receipt, received_at=at, extended_at=at)


def test_everything_is_extended_in_batches_of_ten() -> None:
    """All that is held is extended, ten to a request, and the next tick is an interval away."""
    bench = Bench(count=25)
    assert bench.tick(after=40) == 40
    assert [len(batch) for batch in bench.inbox.batches] == [10, 10, 5]
    assert set().union(*bench.inbox.batches) == {each.receipt for each in bench.held}
    assert {each.extended_at for each in bench.held} == {1040}
    assert not any(each.cancelled for each in bench.held)


def test_it_is_kept_for_as_long_as_it_is_extended() -> None:
    """Extension after extension no lease lapses."""
    bench = Bench()
    for _ in range(50):
        bench.tick(after=40)
    assert bench.held[0].cancelled is None


def test_a_lease_that_cannot_be_extended_is_lost_before_sqs_shows_it() -> None:
    """Without an answer it is tried again soon, and given up a margin before the time-out."""
    bench = Bench()
    bench.inbox.broken = True
    wait = bench.tick(after=40)
    assert 0 < wait < 10
    while bench.held[0].cancelled is None:
        wait = bench.tick(after=wait)
    assert bench.held[0].cancelled is CancelReason.LEASE_LOST
    assert bench.now == 1000 + 120 - TERMS.margin_seconds


def test_it_backs_off_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """While SQS throttles, pauses grow, one request a tick; the log has the begin and the end of it."""
    caplog.set_level("INFO")
    bench = Bench(count=25)
    bench.inbox.broken = True
    waits = [bench.tick(after=40)]
    while len(waits) < 5:
        waits.append(bench.tick(after=waits[-1]))
    assert waits == [1, 2, 4, 8, 16]
    assert bench.inbox.requests == 5
    bench.inbox.broken = False
    assert bench.tick(after=waits[-1]) == 40
    assert not any(each.cancelled for each in bench.held)
    begin, end = (record.getMessage() for record in caplog.records)
    assert "tried again until it works" in begin
    assert end == "Extending leases works again after 5 failures."


def test_a_throttling_that_passes_late_costs_no_trial() -> None:
    """However long the pauses have grown, the keeper comes back in time before the lease counts as lost."""
    bench = Bench()
    bench.inbox.broken = True
    lapse = 1000 + TERMS.visibility_timeout_seconds - TERMS.margin_seconds
    wait = bench.tick(after=40)
    while bench.now + wait < lapse - 5:
        wait = bench.tick(after=wait)
    bench.inbox.broken = False
    bench.tick(after=wait)
    assert bench.now < lapse
    assert (bench.held[0].cancelled, bench.held[0].extended_at) == (None, bench.now)


def test_a_process_that_slept_gives_up_before_it_extends() -> None:
    """After a freeze beyond the time-out the trial is cancelled and its message not touched."""
    bench = Bench()
    bench.tick(after=121)
    assert bench.held[0].cancelled is CancelReason.LEASE_LOST
    assert bench.inbox.batches == []


def test_a_message_that_is_no_longer_ours_is_lost_at_once() -> None:
    """SQS's word that the receipt holds nothing cancels that trial and no other."""
    bench = Bench(count=2)
    bench.inbox.lost = {"r0"}
    bench.tick(after=40)
    assert [each.cancelled for each in bench.held] == [CancelReason.LEASE_LOST, None]


def test_an_entry_that_failed_for_another_reason_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A throttled entry keeps its old time, is spoken of, and is soon extended."""
    bench = Bench()
    bench.inbox.refused = {"r0"}
    wait = bench.tick(after=40)
    assert wait < 10
    assert (bench.held[0].cancelled, bench.held[0].extended_at) == (None, 1000)
    assert "some of them and not others" in caplog.text
    bench.inbox.refused = set()
    bench.tick(after=wait)
    assert bench.held[0].extended_at == 1040 + wait


def test_what_is_settled_is_not_extended() -> None:
    """A message whose last visibility is being set, or whose lease is lost, is left alone; a drained one is kept."""
    bench = Bench(count=3)
    bench.held[0].settling = True
    bench.held[1].cancelled = CancelReason.LEASE_LOST
    bench.held[2].cancelled = CancelReason.DRAIN
    bench.tick(after=40)
    assert bench.inbox.batches == [{"r2": 120}]


def test_a_message_deleted_meanwhile_is_not_lost() -> None:
    """The refusal for a message that this worker itself deleted during the request means nothing."""
    bench = Bench()
    bench.inbox.lost = {"r0"}
    extend = bench.inbox.extend

    def extend_late(visibility_timeouts: Mapping[str, int]) -> ExtensionResult:
        bench.in_flight.remove(bench.held[0])
        return extend(visibility_timeouts)

    bench.inbox.extend = extend_late  # type: ignore[method-assign]  # a race, made certain
    bench.tick(after=40)
    assert bench.held[0].cancelled is None


def test_twelve_hours_are_the_end() -> None:
    """The last extensions do not reach beyond SQS's limit, and the trial is let go before it."""
    bench = Bench()
    end = 1000 + MAX_HOLD_SECONDS
    while bench.now < end - 60:
        bench.tick(after=40)
    assert bench.held[0].cancelled is None
    assert bench.inbox.batches[-1]["r0"] <= end - bench.now
    bench.tick(after=end - TERMS.margin_seconds - bench.now)
    assert bench.held[0].cancelled is CancelReason.LEASE_LOST


def test_terms_that_cannot_hold_are_refused() -> None:
    """A time-out shorter than two intervals is refused by the setting's name."""
    with pytest.raises(UsageError, match="LEASE_INTERVAL_SECONDS"):
        LeaseTerms(visibility_timeout_seconds=60, interval_seconds=40)


def test_the_thread_ticks_until_it_is_left() -> None:
    """As a context manager it extends by itself, survives what it did not foresee, and ends."""
    bench = Bench()
    terms = LeaseTerms(visibility_timeout_seconds=10, interval_seconds=0.01)
    calls = 0

    def extend(visibility_timeouts: Mapping[str, int]) -> ExtensionResult:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("a bug")
        return ExtensionResult(extended=frozenset(visibility_timeouts), lost=frozenset())

    bench.inbox.extend = extend  # type: ignore[method-assign]  # a fake with the behaviour
    bench.held[0].received_at = bench.held[0].extended_at = time.monotonic()
    with LeaseKeeper(
        inbox=bench.inbox,  # type: ignore[arg-type]  # a fake with the behaviour
        in_flight=bench.in_flight,
        terms=terms,
        cancel=bench._cancel,
    ):
        deadline = time.monotonic() + 10
        while calls < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    after = calls
    time.sleep(0.05)
    assert calls == after >= 3
