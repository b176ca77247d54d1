"""Puts dead letters back on the trials' queue, each exactly once however often that is interrupted.

A letter goes its way in six steps: is there a result? is there a marker? – the state says *queued* – the message is
sent – the marker names it – the state says *queued* once more – the letter is deleted. Where the marker is, the message
was sent, so whoever comes later only deletes. Who is killed between sending and marking leaves a message without a
marker and a letter, and the next replay sends a second one. The marker is written once: its message is the one that
counts, and a worker drops the other (:meth:`~harbor_aws.worker.record.Recorder.is_the_replay`; a worker that is first
writes the marker itself).

The state is written the second time for whoever looks at the letters meanwhile: he takes *queued* without a marker for
a replay that was interrupted, and the trial for dead. Once it is written again he can say so no more, and what he said
before is put right.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import batched
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.layout import replay_key, result_key, state_key
from harbor_aws.infra.queues import BATCH_ENTRIES, OutgoingMessage
from harbor_aws.producer.dead_letters.sweep import Sweep
from harbor_aws.producer.history import encode_fitting
from harbor_aws.producer.state import Phase, ReplayMarker, TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.infra.queues import IncomingMessage, Queue
    from harbor_aws.producer.dead_letters.letter import Letter
    from harbor_aws.producer.message import TrialMessage

WRITER = "dlq replay"
"""What the state of a trial that was put back names instead of a worker."""

_BUCKET_REQUESTS_AT_ONCE = 32


class Fate(StrEnum):
    """What became of a chosen letter."""

    REPLAYED = "replayed"
    """Its trial is in the queue again."""
    COMMITTED = "committed"
    """Its trial has a result; the letter was only deleted."""
    MOVED_BEFORE = "moved-before"
    """A replay that was interrupted, or another one, has sent it; the letter was only deleted."""
    REFUSED = "refused"
    """No worker could run it; the letter stays."""
    HIDDEN = "hidden"
    """Somebody else has it in his hands; the letter stays."""


@dataclass(slots=True)
class Report:
    """What became of the chosen letters, by id."""

    fates: dict[str, Fate] = field(default_factory=dict)

    def count(self, fate: Fate) -> int:
        return Counter(self.fates.values())[fate]

    @property
    def is_clean(self) -> bool:
        """Whether none of the letters stays."""
        return not self.count(Fate.REFUSED) and not self.count(Fate.HIDDEN)


class InterruptedReplayError(HarborAwsError):
    """Replaying ended early. The same command goes on with it, and moves nothing twice.

    Attributes:
        report: what was done.
    """

    def __init__(self, report: Report, *, total: int, cause: BaseException) -> None:
        why = "interrupted" if isinstance(cause, KeyboardInterrupt) else f"stopped ({cause})"
        super().__init__(
            f"Replaying was {why}: {len(report.fates)} of {total} dead letters are dealt with. Run the same command "
            f"again for the rest; nothing is moved twice."
        )
        self.report = report


class Replayer:
    """Moves letters from one queue to the other.

    Args:
        attempts: the budget of the trials from now on; each keeps its own unless given.
        rate: messages a second at most.
        on_letter: called for each chosen letter that is dealt with.
    """

    def __init__(
        self,
        *,
        dead_letters: Queue,
        trials: Queue,
        store: ObjectStore,
        attempts: int | None = None,
        rate: float | None = None,
        on_letter: Callable[[], None] = lambda: None,
    ) -> None:
        self._dead_letters = dead_letters
        self._trials = trials
        self._store = store
        self._attempts = attempts
        self._rate = rate
        self._on_letter = on_letter
        self._report = Report()

    def replay(self, chosen: Iterable[Letter]) -> Report:
        """Move the chosen letters that can be run, and delete those that need not be.

        They must be compared with the bucket already; see :func:`~harbor_aws.producer.dead_letters.browse.look`.

        Raises:
            InterruptedReplayError: not all of them could be dealt with.
        """
        letters = {letter.id: letter for letter in chosen}
        for letter in letters.values():
            if letter.unrunnable:
                self._note(letter, Fate.REFUSED)
        wanted = {identity: letter for identity, letter in letters.items() if not letter.unrunnable}
        try:
            if wanted:
                self._sweep(wanted)
        except (KeyboardInterrupt, HarborAwsError) as error:
            raise InterruptedReplayError(self._report, total=len(letters), cause=error) from error
        return self._report

    def _sweep(self, wanted: Mapping[str, Letter]) -> None:
        left = set(wanted)
        with ThreadPoolExecutor(_BUCKET_REQUESTS_AT_ONCE) as pool:
            with Sweep(self._dead_letters, **_pace(self._rate)) as sweep:
                for batch in sweep:
                    began = time.monotonic()
                    found = [message for message in batch if message.message_id in left]
                    for messages in _one_a_trial(found, wanted):
                        self._move(messages, wanted, sweep, pool)
                    left -= {message.message_id for message in found}
                    if not left:
                        return
                    if self._rate is not None:
                        time.sleep(max(0.0, len(found) / self._rate - (time.monotonic() - began)))
            absent = [wanted[identity] for identity in sorted(left)]
            for letter, fate in zip(absent, pool.map(self._fate, absent), strict=True):
                self._note(letter, Fate.HIDDEN if fate is Fate.REPLAYED else fate)

    def _move(
        self,
        messages: Sequence[IncomingMessage],
        wanted: Mapping[str, Letter],
        sweep: Sweep,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Deal with letters of as many trials."""
        letters = [wanted[message.message_id] for message in messages]
        fates = dict(zip((letter.id for letter in letters), pool.map(self._fate, letters), strict=True))
        to_send = [letter for letter in letters if fates[letter.id] is Fate.REPLAYED]
        for batch in batched(to_send, BATCH_ENTRIES):
            following = [fresh(letter, attempts=self._attempts) for letter in batch]
            list(pool.map(self._say_queued, following))
            sent = self._trials.send([OutgoingMessage(encode_fitting(message)) for message in following])
            list(pool.map(self._mark, following, sent))
            list(pool.map(self._say_queued, following))
        sweep.delete(messages)
        for letter in letters:
            self._note(letter, fates[letter.id])

    def _fate(self, letter: Letter) -> Fate:
        message = letter.message
        if self._store.exists(result_key(message.job, message.trial)):
            return Fate.COMMITTED
        if self._store.exists(replay_key(message.job, message.trial, message.replay + 1)):
            return Fate.MOVED_BEFORE
        return Fate.REPLAYED

    def _say_queued(self, message: TrialMessage) -> None:
        """Unless somebody has said more of this replay already: a worker that has it, or a later replay."""
        key = state_key(message.job, message.trial)
        written = None
        while written is None:  # somebody else wrote between the reading and the writing
            there = self._store.get_version(key)
            if there and _is_ahead(TrialState.model_validate_json(there.body), message):
                return
            state = _queued(message).model_dump_json(exclude_none=True).encode()
            written = self._store.put_if_unchanged(key, state, etag=there.etag if there else None)

    def _mark(self, message: TrialMessage, message_id: str) -> None:
        marker = ReplayMarker(message_id=message_id, marked_at=datetime.now(UTC))
        key = replay_key(message.job, message.trial, message.replay)
        self._store.put_if_absent(key, marker.model_dump_json().encode())

    def _note(self, letter: Letter, fate: Fate) -> None:
        self._report.fates[letter.id] = fate
        self._on_letter()


def fresh(letter: Letter, *, attempts: int | None = None) -> TrialMessage:
    """The trial's first message of its next replay: a fresh budget, and the history kept.

    Raises:
        UndecodableMessageError: the letter holds no message.
    """
    message = letter.message
    return message.model_copy(
        update={
            "attempt": 1,
            "agent_retries": 0,
            "waits": 0,
            "refusals": 0,
            "disruptions": 0,
            "attempts": attempts or message.attempts,
            "replay": message.replay + 1,
            "history": letter.attempts,
        }
    )


def _queued(message: TrialMessage) -> TrialState:
    return TrialState(
        trial=message.trial,
        phase=Phase.QUEUED,
        attempt=message.attempt,
        replay=message.replay,
        worker=WRITER,
        since=datetime.now(UTC),
        consumed=message.consumed,
    )


def _is_ahead(state: TrialState, message: TrialMessage) -> bool:
    """Whether the trial is beyond being queued as this message."""
    if state.replay == message.replay:
        return state.phase is not Phase.QUEUED
    return state.replay > message.replay


def _pace(rate: float | None) -> dict[str, int]:
    """With a rate no more is received at a time than may be sent in a second, so that nothing waits while hidden."""
    return {} if rate is None else {"count": max(1, min(BATCH_ENTRIES, int(rate))), "at_once": 1}


def _one_a_trial(
    messages: Sequence[IncomingMessage], letters: Mapping[str, Letter]
) -> Iterable[Sequence[IncomingMessage]]:
    """Groups without two letters of one trial: the second must see what became of the first."""
    groups: list[dict[tuple[str | None, str | None], IncomingMessage]] = []
    for message in messages:
        letter = letters[message.message_id]
        trial = letter.job, letter.trial
        group = next((group for group in groups if trial not in group), None)
        if group is None:
            groups.append(group := {})
        group[trial] = message
    return [list(group.values()) for group in groups]
