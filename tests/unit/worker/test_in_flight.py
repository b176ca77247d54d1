"""The register of what is held."""

from __future__ import annotations

from threading import Timer

from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.in_flight import HeldDelivery, InFlight


def held(receipt: str, *, job: str = "job", trial: str = "trial") -> HeldDelivery:
    message = TrialMessage(job=job, trial=trial, bundle="0" * 64, trial_config={})
    return HeldDelivery(Delivery(message, "body", 1), receipt, received_at=0, extended_at=0)


def test_room_is_what_is_not_held() -> None:
    """Each delivery takes a slot until it is removed; two receives of one message are two deliveries."""
    in_flight = InFlight(slots=2)
    first, second = held("a"), held("b")
    assert in_flight.add(first)
    assert in_flight.add(second)
    assert (in_flight.room(), len(in_flight)) == (0, 2)
    assert in_flight.find("a") is first
    in_flight.remove(first)
    in_flight.remove(first)
    assert (in_flight.room(), in_flight.snapshot()) == (1, [second])


def test_a_trial_is_known_by_job_and_name() -> None:
    """As long as one delivery of a trial is held, whichever; a trial of that name in another job is another."""
    in_flight = InFlight(slots=2)
    first = held("a")
    in_flight.add(first)
    assert in_flight.of_trial(held("b").delivery) is first
    assert in_flight.of_trial(held("b", job="other").delivery) is None
    assert in_flight.of_trial(held("b", trial="other").delivery) is None
    in_flight.remove(first)
    assert in_flight.of_trial(held("b").delivery) is None


def test_closed_it_only_shrinks() -> None:
    """After closing there is no room and nothing is added, but what is held can end."""
    in_flight = InFlight(slots=2)
    first = held("a")
    in_flight.add(first)
    in_flight.close()
    assert in_flight.room() == 0
    assert not in_flight.add(held("b"))
    in_flight.wait_for_room(60)
    assert in_flight.wait_until_closed(0)
    assert not in_flight.wait_until_empty(0)
    in_flight.remove(first)
    assert in_flight.wait_until_empty(0)


def test_waiting_ends_with_the_change() -> None:
    """Whoever waits for a slot wakes up when one is freed."""
    in_flight = InFlight(slots=1)
    first = held("a")
    in_flight.add(first)
    timer = Timer(0.05, in_flight.remove, [first])
    timer.start()
    in_flight.wait_for_room(60)
    assert in_flight.room() == 1
    timer.join()
