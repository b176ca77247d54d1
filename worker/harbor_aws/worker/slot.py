"""What a slot does: a thread of Celery's pool that waits for one trial on the loop and settles its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harbor_aws.worker.fitness import Fitness
    from harbor_aws.worker.in_flight import InFlight
    from harbor_aws.worker.loop import TrialLoop
    from harbor_aws.worker.settle import Settler


class Slot:
    """Shared by all threads of the pool. A blocked thread costs 36 to 48 KB, so hundreds are cheap.

    The message is settled here and by nothing else: whatever Celery makes of the task afterwards, its own
    acknowledgements touch no message that had its ending.
    """

    def __init__(self, *, in_flight: InFlight, trials: TrialLoop, settler: Settler, fitness: Fitness) -> None:
        self._in_flight = in_flight
        self._trials = trials
        self._settler = settler
        self._fitness = fitness

    def run(self, receipt: str) -> None:
        """Block until the trial of a held message ended and its message is settled."""
        held = self._in_flight.find(receipt)
        if held is not None:
            ending = self._trials.run(held)
            self._fitness.note_ending(ending, received_at=held.received_at)
            self._settler.settle(held, ending)
