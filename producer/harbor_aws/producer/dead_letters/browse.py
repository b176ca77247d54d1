"""What lies in the dead-letter queue, with what the bucket knows of it.

A trial that SQS itself gave up has no state that says so, and one whose worker could not write its last state has none
either. Whoever looks at the letters writes what is missing, so that ``status`` counts these trials as dead; but never
over what somebody else has written since, for a trial that is put back meanwhile runs again.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.layout import replay_key, state_key
from harbor_aws.producer.dead_letters.letter import Letter
from harbor_aws.producer.dead_letters.plans import Plans
from harbor_aws.producer.dead_letters.sweep import Sweep
from harbor_aws.producer.state import Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.infra.queues import Queue

logger = logging.getLogger(__name__)

_READS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Look:
    """The dead-letter queue at one moment."""

    letters: list[Letter]
    """The newest first."""
    hidden: int
    """Letters that another command had in its hands; SQS's own, approximate, count."""
    is_cut_off: bool
    """Whether there are more than can be seen at once."""


def look(queue: Queue, store: ObjectStore, *, on_letters: Callable[[int], None] = lambda _count: None) -> Look:
    """See every dead letter, and let go of all before anything else is done.

    Args:
        on_letters: called with how many more were seen.

    Raises:
        TransientError: SQS or S3 does not answer.
    """
    letters: list[Letter] = []
    with Sweep(queue) as sweep:
        for batch in sweep:
            letters += map(Letter.of, batch)
            on_letters(len(batch))
    plans = Plans(store)
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        known = list(pool.map(lambda letter: _compare(store, plans, letter), letters))
    newest_first = sorted(known, key=lambda letter: letter.at, reverse=True)
    return Look(newest_first, hidden=sweep.hidden_before, is_cut_off=sweep.is_cut_off)


def _compare(store: ObjectStore, plans: Plans, letter: Letter) -> Letter:
    """The letter with what the bucket knows of it; a state that should say that the trial is dead then does.

    What a stranger wrote says nothing of the trial that it names.
    """
    if letter.unrunnable:
        return letter
    message = letter.message
    objection = plans.objection(message)
    if objection:
        return letter.model_copy(update={"unrunnable": objection})
    key = state_key(message.job, message.trial)
    there = store.get_version(key)
    state = TrialState.model_validate_json(there.body) if there else None
    known = letter.with_state(state)

    def was_replayed() -> bool:
        return store.exists(replay_key(message.job, message.trial, message.replay + 1))

    if lacks_its_end(letter, state, was_replayed=was_replayed):
        try:
            dead = dead_state(known, state).model_dump_json(exclude_none=True).encode()
            store.put_if_unchanged(key, dead, etag=there.etag if there else None)
        except HarborAwsError as error:
            logger.warning("Trial %s is a dead letter, and its state could not be made to say so: %s", key, error)
    return known


def lacks_its_end(letter: Letter, state: TrialState | None, *, was_replayed: Callable[[], bool]) -> bool:
    """Whether the newest that is known of a trial is that it is this dead letter, and its state does not say so."""
    if state is None:
        return True
    message = letter.message
    here, there = (message.replay, message.attempt), (state.replay, state.attempt)
    if state.phase is Phase.QUEUED and there > here:
        return not was_replayed()  # a replay that was interrupted before it sent anything
    if there > here or (there == here and state.phase in (Phase.DEAD, Phase.RETRYING)):
        return False
    return letter.moved_by_sqs or state.since <= letter.at


def dead_state(letter: Letter, last: TrialState | None) -> TrialState:
    """What the state of a dead letter's trial should say."""
    message = letter.message
    return TrialState(
        trial=message.trial,
        phase=Phase.DEAD,
        attempt=message.attempt,
        replay=message.replay,
        message_id=letter.details.message_id or letter.id,
        attempt_id=last.attempt_id if last else None,
        pod=letter.details.pods[0] if letter.details.pods else None,
        worker=letter.worker or "unknown",
        since=letter.at,
        reason=f"{letter.cause}: {letter.reason}",
        logs=letter.logs,
        consumed=letter.consumed,
    )
