"""Whether a message has been overtaken by what its trial has become meanwhile, or has a twin that runs. Pure.

A message comes again when its worker died, handed it back, or could not delete it. What a state says is written only
after the message that it speaks of was sent, so whatever is dropped here is somewhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.producer.state import Phase

if TYPE_CHECKING:
    from harbor_aws.producer.state import TrialState
    from harbor_aws.worker.delivery import Delivery


def is_overtaken(delivery: Delivery, last: TrialState | None) -> bool:
    """Whether the trial is further on: at a later attempt, or at this one, but ended.

    A dead letter of this very message was sent, and then it was not deleted. That of another message may be this one,
    put back by hand (SQS's own redrive gives it a new MessageId), so it runs: that the other way loses the trial.
    """
    if last is None:
        return False
    here, there = delivery.message.place, (last.replay, last.attempt)
    if there != here:
        return there > here
    return last.phase is Phase.RETRYING or (last.phase is Phase.DEAD and last.message_id in (None, delivery.message_id))


def is_second_replay(delivery: Delivery, last: TrialState | None) -> bool:
    """Whether another message of this replay, which counts instead of this one, has not come to an end yet.

    When it has, as a dead letter, then this may be that letter, put back by hand, and it runs. So does one that has
    begun all the same.
    """
    if last is None or (last.replay, last.attempt) != delivery.message.place:
        return True
    return last.phase is not Phase.DEAD and last.message_id != delivery.message_id


LAST_PUT_OFF = 18
"""Receives of a message after which it is put off no more for the sake of a twin: by then it was hidden for the 12
hours that a trial may take, so whoever ran that one is gone. See :func:`~harbor_aws.worker.settle.backoff_seconds`."""


def has_twin(delivery: Delivery, last: TrialState | None) -> bool:
    """Whether another message of this very attempt is being run: a send whose answer was lost was sent again.

    Each of the two would delete the other's pods. The message is not dropped: if its twin comes to nothing, it runs.
    """
    return (
        last is not None
        and (last.replay, last.attempt) == delivery.message.place
        and last.phase.is_in_flight
        and last.message_id not in (None, delivery.message_id)
        and delivery.receive_count <= LAST_PUT_OFF
    )


def is_superseded(delivery: Delivery, last: TrialState | None, *, attempt_id: str) -> bool:
    """Whether somebody else has begun what this attempt is about, or what comes after it."""
    if last is None or last.attempt_id == attempt_id:
        return False
    return (last.replay, last.attempt) >= delivery.message.place
