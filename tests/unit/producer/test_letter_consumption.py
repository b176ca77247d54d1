"""What a dead letter says that its trial consumed, and what a replay makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tests.unit.producer.letter_fakes import JOB, MemoryQueue, MemoryStore, put_letter, trial_message

from harbor_aws.infra.layout import state_key
from harbor_aws.producer.celery_message import decode, encode
from harbor_aws.producer.dead_letters.browse import look
from harbor_aws.producer.dead_letters.letter import LetterDetails
from harbor_aws.producer.dead_letters.replay import Replayer
from harbor_aws.producer.message import AttemptRecord
from harbor_aws.producer.state import Phase, TrialState
from harbor_aws.producer.usage import Consumption, PodUsage

BEFORE = Consumption(pods=1, vcpu_hours=2)


def state(store: MemoryStore) -> TrialState:
    return TrialState.model_validate_json(store.objects[state_key(JOB, "t")])


def replay(dead_letters: MemoryQueue, store: MemoryStore) -> Consumption:
    """Replay all letters; what the one message says that its trial consumed."""
    trials = MemoryQueue()
    replayer = Replayer(dead_letters=cast("Any", dead_letters), trials=cast("Any", trials), store=cast("Any", store))
    replayer.replay(look(cast("Any", dead_letters), cast("Any", store)).letters)
    (sent,) = trials.stored.values()
    return decode(sent.body).consumed


def test_a_workers_letter_goes_on_from_its_last_attempt() -> None:
    """The replay's message and state say what the letter's last attempt said."""
    queue, store = MemoryQueue(), MemoryStore()
    attempts = [AttemptRecord(attempt=1, cause="A"), AttemptRecord(attempt=2, cause="B", consumed=BEFORE)]
    details = LetterDetails(attempts=attempts).model_dump_json(exclude_none=True)
    queue.put(encode(trial_message("t", attempt=2)), {"cause": "B", "reason": "b", "details": details})
    assert replay(queue, store) == BEFORE
    assert (state(store).phase, state(store).consumed) == (Phase.QUEUED, BEFORE)


def test_a_letter_of_sqs_takes_it_from_the_last_state() -> None:
    """Its worker died: what it last said counts, and is said of the dead trial, however often somebody looks."""
    queue, store = MemoryQueue(), MemoryStore()
    since = datetime.now(UTC) - timedelta(minutes=5)
    an_hour_before = since - timedelta(hours=1)
    pod = PodUsage(
        name="p", role="agent", cpu_millis=1000, memory_mib=2048, created_at=since, scheduled_at=an_hour_before
    )
    last = TrialState(trial="t", phase=Phase.AGENT, attempt=1, worker="w", since=since, pods=[pod], consumed=BEFORE)
    store.objects[state_key(JOB, "t")] = last.model_dump_json().encode()
    queue.put(encode(trial_message("t")))
    for _ in range(2):
        look(cast("Any", queue), cast("Any", store))
        queue.let_time_pass()
        assert state(store).phase is Phase.DEAD
        consumed = state(store).consumption(now=datetime.now(UTC))
        assert consumed is not None
        assert (consumed.pods, 3 <= consumed.vcpu_hours < 3.2) == (2, True)
    assert replay(queue, store) == consumed


def test_a_letter_of_an_older_version_says_nothing() -> None:
    """It is replayed all the same."""
    queue, store = MemoryQueue(), MemoryStore()
    put_letter(queue, "t")
    assert replay(queue, store) == Consumption()
