"""What a slot does with its trial's ending."""

from __future__ import annotations

import pytest

from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.fitness import Fitness
from harbor_aws.worker.in_flight import HeldDelivery, InFlight
from harbor_aws.worker.settle import Ending, Settler
from harbor_aws.worker.slot import Slot


class Trials:
    """A loop whose trials all end in one way."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending

    def run(self, _held: HeldDelivery) -> Ending:
        return self.ending


class Inbox:
    """Notes whether the process was fit while it settled a message."""

    def __init__(self, fitness: Fitness) -> None:
        self.fitness = fitness
        self.was_fit: list[bool] = []

    def delete(self, _receipt: str) -> None:
        self.was_fit.append(self.fitness.is_fit())

    def hide(self, _receipt: str, *, seconds: int) -> None:
        self.was_fit.append(self.fitness.is_fit())


@pytest.mark.parametrize(("ending", "is_fit"), [(Ending.RETURNED, True), (Ending.RAISED, False)])
def test_a_raise_is_known_before_its_slot_is_free(ending: Ending, *, is_fit: bool) -> None:
    """Else the slot would take the next message at once."""
    message = TrialMessage(job="job", trial="trial", bundle="0" * 64, trial_config={})
    held = HeldDelivery(Delivery(message, "body", 1), "receipt", received_at=0, extended_at=0)
    in_flight, fitness = InFlight(slots=1), Fitness()
    in_flight.add(held)
    inbox = Inbox(fitness)
    settler = Settler(inbox=inbox, in_flight=in_flight)  # type: ignore[arg-type]  # a fake with the behaviour
    slot = Slot(in_flight=in_flight, trials=Trials(ending), settler=settler, fitness=fitness)  # type: ignore[arg-type]  # likewise
    slot.run("receipt")
    assert inbox.was_fit == [is_fit]
    assert (in_flight.room(), fitness.is_fit()) == (1, is_fit)
