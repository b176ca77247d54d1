"""Dead letters get back on the queue once each, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.producer.letter_fakes import (
    BIG,
    BIG_CONFIG,
    JOB,
    KilledError,
    MemoryQueue,
    MemoryStore,
    Process,
    put_letter,
    trial_message,
)

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.layout import replay_key, result_key, state_key
from harbor_aws.producer.celery_message import decode, encode
from harbor_aws.producer.dead_letters import sweep as sweep_module
from harbor_aws.producer.dead_letters.browse import look
from harbor_aws.producer.dead_letters.letter import LetterDetails
from harbor_aws.producer.dead_letters.replay import Fate, InterruptedReplayError, Replayer
from harbor_aws.producer.message import MESSAGE_LIMIT_BYTES, AttemptRecord
from harbor_aws.producer.state import Phase, ReplayMarker, TrialState
from harbor_aws.worker.delivery import Delivery
from harbor_aws.worker.record import Recorder

if TYPE_CHECKING:
    from harbor_aws.producer.dead_letters.letter import Letter
    from harbor_aws.producer.dead_letters.replay import Report
    from harbor_aws.producer.message import TrialMessage

TRIALS = ("a", "b", "c")


class Bench:
    """Two queues and a bucket, and one process that uses them."""

    def __init__(self) -> None:
        self.dead_letters = MemoryQueue(seed=1)
        self.trials = MemoryQueue(seed=2)
        self.store = MemoryStore()

    def enter(self, process: Process) -> None:
        """All requests are this process's from now on."""
        for part in (self.dead_letters, self.trials, self.store):
            part.process = process

    def letters(self) -> list[Letter]:
        return look(cast("Any", self.dead_letters), cast("Any", self.store)).letters

    def replayer(self, **options: Any) -> Replayer:
        return Replayer(
            dead_letters=cast("Any", self.dead_letters),
            trials=cast("Any", self.trials),
            store=cast("Any", self.store),
            **options,
        )

    def replay_all(self, **options: Any) -> Report:
        return self.replayer(**options).replay(self.letters())

    def sent(self) -> list[TrialMessage]:
        return [decode(stored.body) for stored in self.trials.stored.values()]

    def effective(self) -> Counter[str]:
        """By trial: the messages that a worker would run, which it receives in any order."""
        return Counter(
            message.trial
            for identity, stored in reversed(self.trials.stored.items())
            if self.counts(message := decode(stored.body), identity)
        )

    def counts(self, message: TrialMessage, message_id: str) -> bool:
        """What a worker makes of a message of a replay."""
        delivery = Delivery(message, "", 1, message_id)
        attempt = SimpleNamespace(job=message.job, trial=message.trial)
        return asyncio.run(Recorder(cast("Any", self.store), cast("Any", attempt), delivery).is_the_replay())

    def say(self, trial: str, phase: Phase, *, replay: int) -> None:
        """What a worker, or another command, writes of a trial."""
        now = datetime.now(UTC)
        state = TrialState(trial=trial, phase=phase, attempt=1, replay=replay, worker="w1", since=now)
        self.store.objects[state_key(JOB, trial)] = state.model_dump_json().encode()

    def state(self, trial: str) -> TrialState:
        return TrialState.model_validate_json(self.store.objects[state_key(JOB, trial)])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_replay_is_a_fresh_start_with_a_memory(bench: Bench) -> None:
    """Attempt 1 of the next replay, nobody's retries charged, the old budget or a new one, all attempts kept."""
    past = AttemptRecord(attempt=1, cause="PodGoneError", worker="w0")
    put_letter(bench.dead_letters, "a", attempt=2, attempts=2, agent_retries=1, history=[past])
    put_letter(bench.dead_letters, "b", attempt=14, attempts=4, replay=1, waits=9, disruptions=1, refusals=9)
    assert bench.replay_all().is_clean
    one, two = sorted(bench.sent(), key=lambda message: message.trial)
    assert (one.attempt, one.attempts, one.agent_retries, one.replay) == (1, 2, 0, 1)
    assert [(each.replay, each.attempt, each.cause) for each in one.history] == [
        (0, 1, "PodGoneError"),
        (0, 2, "PodStartError"),
    ]
    assert (two.attempt, two.attempts, two.replay) == (1, 4, 2)
    assert (two.waits, two.disruptions, two.refusals) == (0, 0, 0)
    assert [(each.replay, each.attempt) for each in two.history] == [(1, 14)]
    assert bench.dead_letters.stored == {}
    assert (bench.state("a").phase, bench.state("a").replay) == (Phase.QUEUED, 1)


def test_a_budget_can_be_given(bench: Bench) -> None:
    """--attempts."""
    put_letter(bench.dead_letters, "a")
    bench.replay_all(attempts=7)
    assert [message.attempts for message in bench.sent()] == [7]


def test_a_trial_with_a_result_is_not_run_again(bench: Bench) -> None:
    """Its letter is deleted, and that is said."""
    identity = put_letter(bench.dead_letters, "a")
    bench.store.objects[result_key(JOB, "a")] = b"{}"
    assert bench.replay_all().fates == {identity: Fate.COMMITTED}
    assert (bench.trials.stored, bench.dead_letters.stored) == ({}, {})


def test_what_nobody_can_run_stays(bench: Bench) -> None:
    """It is refused by name, and the others are replayed."""
    broken = bench.dead_letters.put("hello", {"cause": "UndecodableMessageError"})
    good = put_letter(bench.dead_letters, "a")
    report = bench.replay_all()
    assert report.fates == {broken: Fate.REFUSED, good: Fate.REPLAYED}
    assert not report.is_clean
    assert [stored.id for stored in bench.dead_letters.visible] == [broken]


def test_what_a_stranger_wrote_is_not_replayed(bench: Bench) -> None:
    """It would take the place of the real trial's replay: nothing of the trial that it names is touched."""
    forged = bench.dead_letters.put(encode(trial_message("a", trial_config={"agent": {"import_path": "evil:Agent"}})))
    nobodys = bench.dead_letters.put(encode(trial_message("unknown")))
    before = dict(bench.store.objects)
    assert bench.replay_all().fates == {forged: Fate.REFUSED, nobodys: Fate.REFUSED}
    assert bench.store.objects == before
    put_letter(bench.dead_letters, "a")
    assert bench.replay_all().count(Fate.REPLAYED) == 1


def test_only_what_was_chosen_moves(bench: Bench) -> None:
    """The other letters are visible again at the end."""
    for number in range(40):
        put_letter(bench.dead_letters, f"t{number}")
    chosen = [letter for letter in bench.letters() if (letter.trial or "").endswith("3")]
    bench.replayer().replay(chosen)
    assert sorted(message.trial for message in bench.sent()) == ["t13", "t23", "t3", "t33"]
    assert len(bench.dead_letters.visible) == 36


def test_two_letters_of_one_trial_are_one_replay(bench: Bench) -> None:
    """A worker that sent its letter and died before it deleted the message leaves two, whichever batch they are in."""
    for trial in (*TRIALS, *TRIALS, *TRIALS):
        put_letter(bench.dead_letters, trial)
    report = bench.replay_all()
    assert (report.count(Fate.REPLAYED), report.count(Fate.MOVED_BEFORE)) == (3, 6)
    assert len(bench.trials.stored) == 3
    assert bench.dead_letters.stored == {}


@pytest.mark.parametrize("after_it", [False, True])
def test_killed_at_any_request_each_trial_is_replayed_once(after_it: bool) -> None:
    """kill -9 before or after each single request, then the same command again: no trial is lost, none runs twice."""
    dies_at = 1
    while True:
        bench = Bench()
        for trial in TRIALS:
            put_letter(bench.dead_letters, trial, attempt=3)
        chosen = bench.letters()
        process = Process(dies_at=dies_at, after_it=after_it)
        bench.enter(process)
        try:
            bench.replayer().replay(chosen)
        except KilledError:
            assert process.is_dead
        else:
            break
        bench.enter(Process())
        assert len(bench.trials.stored) + len(bench.dead_letters.stored) >= 3
        bench.dead_letters.let_time_pass()
        assert bench.replay_all().is_clean
        assert bench.effective() == dict.fromkeys(TRIALS, 1), f"killed at request {dies_at}"
        assert bench.dead_letters.stored == {}
        assert {bench.state(trial).phase for trial in TRIALS} == {Phase.QUEUED}
        dies_at += 1
    assert dies_at > 15


def test_a_worker_that_is_quicker_than_the_marker_counts(bench: Bench) -> None:
    """A message received between sending and marking claims the replay; the second one that is sent is dropped."""
    put_letter(bench.dead_letters, "a")
    first = trial_message("a", replay=1)
    assert bench.counts(first, "first")
    bench.dead_letters.let_time_pass()
    report = bench.replay_all()
    assert report.count(Fate.MOVED_BEFORE) == 1
    assert bench.counts(first, "first"), "it comes again"
    assert not bench.counts(first, "second")


def test_a_lost_answer_of_send_is_no_second_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message was sent twice by the client itself: the one that the answer named counts."""
    put_letter(bench.dead_letters, "a")
    send = bench.trials.send

    def send_twice(messages: Any) -> list[str]:
        send(messages)
        return send(messages)

    monkeypatch.setattr(bench.trials, "send", send_twice)
    bench.replay_all()
    assert len(bench.trials.stored) == 2
    assert bench.effective() == {"a": 1}


def test_two_replays_at_once_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if neither hides anything from the other."""
    monkeypatch.setattr(sweep_module, "HIDE_SECONDS", 0)
    bench = Bench()
    names = [f"t{number}" for number in range(30)]
    for name in names:
        put_letter(bench.dead_letters, name)
    chosen = bench.letters()
    both = [Thread(target=bench.replayer().replay, args=(chosen,)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert bench.effective() == dict.fromkeys(names, 1)
    monkeypatch.undo()
    bench.dead_letters.let_time_pass()
    assert bench.replay_all().count(Fate.REPLAYED) == 0
    assert bench.dead_letters.stored == {}


def test_what_a_worker_says_is_not_overwritten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replays at once: the other's message was sent, and its worker spoke, since this one looked for the marker."""
    put_letter(bench.dead_letters, "a")
    chosen = bench.letters()
    exists = bench.store.exists

    def send_first(key: str) -> bool:
        is_there = exists(key)
        if key == replay_key(JOB, "a", 1):
            bench.say("a", Phase.STARTING, replay=1)
        return is_there

    monkeypatch.setattr(bench.store, "exists", send_first)
    bench.replayer().replay(chosen)
    assert (bench.state("a").phase, bench.state("a").worker) == (Phase.STARTING, "w1")


def test_who_looks_while_a_letter_is_moved_leaves_the_trial_queued(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He sees *queued* and no marker, as after a replay that was interrupted, and says that the trial is dead before or
    after the marker is there."""
    for trial in ("a", "b"):
        put_letter(bench.dead_letters, trial)
    chosen = bench.letters()
    put = bench.store.put_if_unchanged
    late: list[tuple[str, str]] = []

    def look_meanwhile(key: str, body: bytes, *, etag: str | None) -> str | None:
        if key == replay_key(JOB, "a", 1):
            bench.say("a", Phase.DEAD, replay=0)
        if key == replay_key(JOB, "b", 1):
            seen = bench.store.get_version(state_key(JOB, "b"))
            assert seen is not None
            late.append((state_key(JOB, "b"), seen.etag))
        return put(key, body, etag=etag)

    monkeypatch.setattr(bench.store, "put_if_unchanged", look_meanwhile)
    bench.replayer().replay(chosen)
    ((key, etag),) = late
    assert put(key, b"dead", etag=etag) is None
    assert {bench.state(trial).phase for trial in ("a", "b")} == {Phase.QUEUED}


def test_a_letter_that_somebody_hides_is_not_forgotten(bench: Bench) -> None:
    """It is said, and the command does not end as if all was done; one that another replay has moved is fine."""
    hidden, moved = put_letter(bench.dead_letters, "a"), put_letter(bench.dead_letters, "b")
    chosen = bench.letters()
    bench.dead_letters.receive(count=10, hide_seconds=60)
    bench.store.objects[replay_key(JOB, "b", 1)] = (
        ReplayMarker(message_id="x", marked_at=datetime.now(UTC)).model_dump_json().encode()
    )
    report = bench.replayer().replay(chosen)
    assert report.fates == {hidden: Fate.HIDDEN, moved: Fate.MOVED_BEFORE}
    assert not report.is_clean


def test_an_error_says_how_far_it_went(bench: Bench) -> None:
    """Everything that was not moved is visible again."""
    for number in range(60):
        put_letter(bench.dead_letters, f"t{number}")
    chosen = bench.letters()
    calls = iter(range(1000))

    def fail(operation: str) -> None:
        if operation == "delete" and next(calls) >= 1:
            raise TransientError("HTTP 503")

    bench.dead_letters.fail = fail
    with pytest.raises(InterruptedReplayError, match=r"stopped \(HTTP 503\).* of 60 .*nothing is moved twice"):
        bench.replayer().replay(chosen)
    assert len(bench.dead_letters.visible) == len(bench.dead_letters.stored) > 0


def test_ctrl_c_is_an_interruption(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """130, as for every command: the error's cause is the KeyboardInterrupt."""
    put_letter(bench.dead_letters, "a")
    chosen = bench.letters()

    def interrupt(_operation: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.trials, "send", interrupt)
    with pytest.raises(InterruptedReplayError, match="was interrupted: 0 of 1") as raised:
        bench.replayer().replay(chosen)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt)
    assert len(bench.dead_letters.visible) == 1


def test_a_rate_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 2 a second, 10 letters of 30 take the pauses of 5 seconds, and no more than 2 go at a time."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    for number in range(30):
        put_letter(bench.dead_letters, f"t{number}")
    chosen = [letter for letter in bench.letters() if len(letter.trial or "") == 2]
    bench.replayer(rate=2).replay(chosen)
    assert len(bench.trials.stored) == 10
    assert 3 < sum(pauses) <= 5
    assert max(pauses) <= 1


def test_a_long_history_gives_way(bench: Bench) -> None:
    """A message stays below its limit; its oldest attempts are what it forgets."""
    attempts = [AttemptRecord(attempt=number, cause="PodGoneError", reason="x" * 200) for number in range(1, 21)]
    body = encode(trial_message(BIG, attempt=20, trial_config=BIG_CONFIG))
    details = LetterDetails(attempts=attempts).model_dump_json()
    bench.dead_letters.put(body, {"cause": "PodGoneError", "details": details})
    bench.replay_all()
    (stored,) = bench.trials.stored.values()
    (message,) = bench.sent()
    assert len(stored.body) <= MESSAGE_LIMIT_BYTES
    assert 5 < len(message.history) < 20
    assert message.history[-1].attempt == 20
