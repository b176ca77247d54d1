"""Several attempts that each take themselves for the trial's only one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.worker.test_trial import JOB, TRIAL, Bench

from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.infra.layout import state_key
from harbor_aws.producer.state import Phase, TrialState
from harbor_aws.worker.delivery import PutOffError, SupersededError
from harbor_aws.worker.lease import MAX_HOLD_SECONDS
from harbor_aws.worker.overtaken import LAST_PUT_OFF
from harbor_aws.worker.settle import backoff_seconds
from harbor_aws.worker.trial import UNRECORDED_RECEIVES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Task.checksum will be deprecated:DeprecationWarning")

KEY = state_key(JOB, TRIAL)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("receive_count", [1, 2, LAST_PUT_OFF])
async def test_a_message_whose_twin_is_run_is_put_off(bench: Bench, attempt: int, receive_count: int) -> None:
    """A send whose answer was lost was done twice: nothing is run, deleted, sent or said."""
    bench.say(Phase.AGENT, attempt, message_id="twin", attempt_id="twins")
    before = dict(bench.store.objects)
    delivery = bench.delivery(attempt=attempt, receive_count=receive_count)
    with pytest.raises(PutOffError):
        await bench.run(delivery)
    assert bench.store.objects[KEY] == before[KEY]
    assert (bench.pods.leftovers_deleted, bench.next_attempts, bench.causes) == (0, [], [])


async def test_a_message_is_not_put_off_for_ever(bench: Bench) -> None:
    """Whoever ran its twin is gone after the longest that a trial may take: a letter put back by hand is one."""
    assert sum(backoff_seconds(count) for count in range(1, LAST_PUT_OFF + 1)) >= MAX_HOLD_SECONDS
    bench.say(Phase.AGENT, 1, message_id="twin", attempt_id="twins")
    await bench.run(bench.delivery(receive_count=LAST_PUT_OFF + 1))
    assert bench.result is not None


@pytest.mark.parametrize("phase", [Phase.HANDED_BACK, Phase.DEAD])
async def test_a_message_whose_twin_is_not_run_runs(bench: Bench, phase: Phase) -> None:
    """One that was handed back finds this one, when it comes."""
    bench.say(phase, 1, message_id="twin", attempt_id="twins")
    await bench.run(bench.delivery(receive_count=1))
    assert bench.result is not None


@pytest.mark.parametrize("attempt", [1, 2])
async def test_of_two_that_begin_at_once_one_is_put_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    """Both have looked before either said that it begins."""
    if attempt > 1:
        bench.say(Phase.RETRYING, attempt - 1, message_id="before")
    put = bench.store.put_if_unchanged

    def after_the_twin(key: str, body: bytes, *, etag: str | None) -> str | None:
        monkeypatch.undo()
        bench.say(Phase.STARTING, attempt, message_id="twin", attempt_id="twins")
        return put(key, body, etag=etag)

    delivery = bench.delivery(attempt=attempt)
    monkeypatch.setattr(bench.store, "put_if_unchanged", after_the_twin)
    with pytest.raises(PutOffError):
        await bench.run(delivery)
    assert bench.state is not None
    assert bench.state.attempt_id == "twins"


async def test_a_state_that_changes_as_it_begins_is_looked_at_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sent this attempt says so only afterwards, and is no rival."""
    put = bench.store.put_if_unchanged

    def after_the_sender(key: str, body: bytes, *, etag: str | None) -> str | None:
        monkeypatch.undo()
        bench.say(Phase.RETRYING, 1, message_id="before")
        return put(key, body, etag=etag)

    bench.say(Phase.COLLECTING, 1, message_id="before")
    delivery = bench.delivery(attempt=2)
    monkeypatch.setattr(bench.store, "put_if_unchanged", after_the_sender)
    await bench.run(delivery)
    assert bench.result is not None


def overtaken_as_it_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch, **rival: Any) -> None:
    """While what the attempt left is uploaded, another one begins."""
    upload = bench.store.upload

    def slow_upload(key: str, path: Path) -> None:
        upload(key, path)
        bench.say(Phase.STARTING, **{"attempt": 1, "message_id": "m1", "attempt_id": "rivals", **rival})

    monkeypatch.setattr(bench.store, "upload", slow_upload)


@pytest.mark.parametrize("spent", [False, True])
async def test_a_failure_of_who_has_lost_the_trial_counts_for_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, spent: bool
) -> None:
    """A worker that was frozen in its ending sends no next attempt, whose cleaning would delete the next owner's pod,
    and no dead letter beside what that may commit."""
    attempt = 3 if spent else 1
    overtaken_as_it_fails(bench, monkeypatch, attempt=attempt)
    with pytest.raises(SupersededError):
        await bench.run(bench.delivery(environment="LosingPods", attempt=attempt, receive_count=5))
    assert (bench.next_attempts, bench.causes) == ([], [])
    assert bench.state is not None
    assert bench.state.attempt_id == "rivals"
    assert len(bench.store.expiring) == 1


async def test_what_cannot_be_written_of_a_lost_trial_is_no_dead_letter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the receive at which it would be one, somebody else has the trial."""

    def refuse(_key: str, _path: Path) -> None:
        bench.say(Phase.STARTING, 1, message_id="m1", attempt_id="rivals")
        raise PermanentError("S3 refused")

    monkeypatch.setattr(bench.store, "upload", refuse)
    with pytest.raises(SupersededError):
        await bench.run(bench.delivery(receive_count=UNRECORDED_RECEIVES))
    assert bench.causes == []


async def test_a_result_of_who_has_lost_the_trial_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one does; who has the trial now will find it."""
    overtaken_as_it_fails(bench, monkeypatch)
    await bench.run(bench.delivery())
    assert bench.result is not None


async def test_what_an_older_attempt_says_late_is_no_rival(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure counts all the same."""
    overtaken_as_it_fails(bench, monkeypatch, attempt=1, message_id="before", attempt_id="older")
    await bench.run(bench.delivery(environment="LosingPods", attempt=2))
    assert [message.attempt for message in bench.next_attempts] == [3]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_state_is_not_said_over_anothers(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    """Who has lost the trial says no more where it is, not at the next phase either, nor what becomes of it."""
    put = bench.store.put_if_unchanged

    def after_a_rival(key: str, body: bytes, *, etag: str | None) -> str | None:
        if key == KEY and b'"phase":"agent"' in body:
            bench.say(Phase.VERIFIER, 1, message_id="m1", attempt_id="rivals")
        return put(key, body, etag=etag)

    monkeypatch.setattr(bench.store, "put_if_unchanged", after_a_rival)
    if fails:
        with pytest.raises(SupersededError):
            await bench.run(bench.delivery(environment="LosingPods"))
    else:
        await bench.run(bench.delivery())
    assert bench.state is not None
    assert (bench.state.phase, bench.state.attempt_id) == (Phase.VERIFIER, "rivals")
    assert (bench.next_attempts, bench.causes) == ([], [])


async def test_a_state_whose_answer_was_lost_is_ones_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written, so the next one finds another version than it knows, and goes on from there."""
    put = bench.store.put_if_unchanged
    lost: list[bytes] = []

    def without_answer(key: str, body: bytes, *, etag: str | None) -> str | None:
        written = put(key, body, etag=etag)
        if b'"agent"' in body and not lost:
            lost.append(body)
            raise TransientError("no answer")
        return written

    monkeypatch.setattr(bench.store, "put_if_unchanged", without_answer)
    await bench.run(bench.delivery())
    assert lost
    assert bench.state is not None
    assert TrialState.model_validate_json(lost[0]).attempt_id == bench.state.attempt_id
    assert bench.state.phase is Phase.COLLECTING
