"""Which messages are dropped: only what is somewhere else for sure."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING

import pytest

from harbor_aws.producer.message import TrialMessage
from harbor_aws.producer.state import Phase, TrialState
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.overtaken import is_overtaken, is_second_replay

if TYPE_CHECKING:
    from collections.abc import Iterable

RUNNING = [Phase.QUEUED, Phase.STARTING, Phase.AGENT, Phase.VERIFIER, Phase.COLLECTING, Phase.HANDED_BACK]
ENDED = [Phase.RETRYING, Phase.DEAD]
PLACES = list(product((0, 1, 2), (1, 2, 3)))


def delivery(replay: int, attempt: int, message_id: str = "m") -> Delivery:
    message = TrialMessage(
        job="job", trial="t", bundle="0" * 64, trial_config={}, replay=replay, attempt=attempt, attempts=3
    )
    return Delivery(message, "body", 2, message_id)


def state(phase: Phase, replay: int, attempt: int, message_id: str | None = "m") -> TrialState:
    return TrialState(
        trial="t",
        phase=phase,
        attempt=attempt,
        replay=replay,
        message_id=message_id,
        worker="w",
        since=datetime.now(UTC),
    )


def pairs() -> Iterable[tuple[tuple[int, int], tuple[int, int]]]:
    return product(PLACES, PLACES)


@pytest.mark.parametrize("phase", [*RUNNING, *ENDED])
def test_replay_counts_before_attempt(phase: Phase) -> None:
    """A trial further on drops the message; one that is not so far never does."""
    for here, there in pairs():
        if here != there:
            assert is_overtaken(delivery(*here), state(phase, *there)) is (there > here)


@pytest.mark.parametrize("phase", RUNNING)
def test_an_attempt_without_an_ending_goes_on(phase: Phase) -> None:
    """Its worker died, or handed it back."""
    for place in PLACES:
        assert not is_overtaken(delivery(*place), state(phase, *place))


@pytest.mark.parametrize("phase", ENDED)
def test_an_attempt_with_an_ending_is_over(phase: Phase) -> None:
    """The next message, or the dead letter, was sent before the state said so; also one of an older worker."""
    for place, message_id in product(PLACES, ("m", None)):
        assert is_overtaken(delivery(*place), state(phase, *place, message_id))


def test_a_letter_that_was_put_back_by_hand_runs() -> None:
    """SQS's own redrive makes it another message of the same attempt, and there is no letter any more."""
    assert not is_overtaken(delivery(0, 3, "new"), state(Phase.DEAD, 0, 3, "old"))
    assert not is_second_replay(delivery(1, 1, "new"), state(Phase.DEAD, 1, 1, "old"))


def test_nothing_known_drops_nothing() -> None:
    """No state, no dropping."""
    assert not is_overtaken(delivery(0, 1), None)


@pytest.mark.parametrize(
    ("last", "is_dropped"),
    [
        (None, True),
        (state(Phase.DEAD, 0, 3), True),
        (state(Phase.QUEUED, 1, 1, None), True),
        (state(Phase.AGENT, 1, 1, "other"), True),
        (state(Phase.RETRYING, 1, 1, "other"), True),
        (state(Phase.AGENT, 1, 1, "m"), False),
        (state(Phase.DEAD, 1, 1, "other"), False),
    ],
)
def test_the_second_message_of_a_replay_is_dropped(last: TrialState | None, is_dropped: bool) -> None:
    """While the one that counts is in the queue or with a worker."""
    assert is_second_replay(delivery(1, 1), last) is is_dropped
