"""What a dead letter tells, and what looking at one puts right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console
from tests.unit.producer.letter_fakes import JOB, MemoryQueue, MemoryStore, put_letter, trial_message

from harbor_aws.infra.errors import TransientError, UsageError
from harbor_aws.infra.layout import replay_key, state_key
from harbor_aws.infra.queues import IncomingMessage
from harbor_aws.producer.celery_message import UndecodableMessageError, decode, encode
from harbor_aws.producer.cli.letters_view import as_json, letter_view, letters_view
from harbor_aws.producer.dead_letters.browse import look
from harbor_aws.producer.dead_letters.letter import WORKER_DIED, Letter, LetterDetails
from harbor_aws.producer.dead_letters.pod_end import ContainerState, PodEnd, PodEvent
from harbor_aws.producer.dead_letters.purge import purge
from harbor_aws.producer.dead_letters.selection import Selection, find, short_ids
from harbor_aws.producer.message import AttemptRecord, TrialMessage
from harbor_aws.producer.state import Phase, TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from harbor_aws.infra.objects import ObjectVersion

NOW = datetime.now(UTC).replace(microsecond=0)


def incoming(body: str, attributes: Mapping[str, str] | None = None, *, identity: str = "id") -> IncomingMessage:
    return IncomingMessage(identity, "receipt", body, attributes or {}, NOW - timedelta(hours=3))


def letter(trial: str = "t", *, identity: str = "id", cause: str = "PodGoneError", hours: int = 0) -> Letter:
    attributes = {"cause": cause, "reason": "gone", "at": (NOW - timedelta(hours=hours)).isoformat()}
    return Letter.of(incoming(encode(trial_message(trial)), attributes, identity=identity))


def say(store: MemoryStore, phase: Phase, **fields: Any) -> None:
    state = TrialState(**{"trial": "t", "phase": phase, "attempt": 1, "worker": "w7", "since": NOW, **fields})
    store.objects[state_key(JOB, "t")] = state.model_dump_json().encode()


def state(store: MemoryStore) -> TrialState:
    return TrialState.model_validate_json(store.objects[state_key(JOB, "t")])


def letters(queue: MemoryQueue, store: MemoryStore) -> list[Letter]:
    return look(cast("Any", queue), cast("Any", store)).letters


def test_a_workers_letter_tells_everything() -> None:
    """Who, where, when, why, every attempt, the pod's end, the logs, and the message as it came."""
    attempts = [AttemptRecord(attempt=1, cause="A", worker="w1", pod="p1"), AttemptRecord(attempt=2, cause="B")]
    details = LetterDetails(
        attempts=attempts, budget=2, pods=["p2"], pod=PodEnd(name="p2", reason="OOMKilled", said="Events: …")
    )
    body = encode(trial_message("t", attempt=2, attempts=2))
    found = Letter.of(
        incoming(
            body,
            {
                "job": JOB, "trial": "t", "attempt": "2", "cause": "B", "reason": "because", "worker": "w2",
                "logs": "jobs/job/attempts/t/02-x.tar.zst", "at": NOW.isoformat(),
                "details": details.model_dump_json(exclude_none=True),
            },
        )
    )  # fmt: skip
    assert (found.job, found.trial, found.attempt, found.cause, found.reason) == (JOB, "t", 2, "B", "because")
    assert (found.worker, found.logs, found.at) == ("w2", "jobs/job/attempts/t/02-x.tar.zst", NOW)
    assert found.details == details
    assert (found.body, found.moved_by_sqs, found.unrunnable) == (body, False, None)


def test_an_older_workers_letter_is_read() -> None:
    """Its pod has neither a container nor events, and is shown by its words."""
    details = '{"pod": {"name": "p2", "reason": "OOMKilled", "said": "It ended. Events: Killing: x"}}'
    found = Letter.of(incoming(encode(trial_message("t")), {"cause": "B", "details": details}))
    assert found.details.pod == PodEnd(name="p2", reason="OOMKilled", said="It ended. Events: Killing: x")
    assert "p2: OOMKilled. It ended. Events: Killing: x" in shown(found)


def test_a_letter_shows_what_became_of_its_pod() -> None:
    """The pod's reason, its container's last state and its events, in the terminal and as JSON; control characters
    from the cluster never reach the terminal."""
    end = PodEnd(
        name="p2",
        reason="Evicted",
        message="node is full",
        said="…",
        container=ContainerState(state="terminated", reason="OOMKilled", exit_code=137),
        events=(PodEvent(reason="FailedScheduling", message="0/9 nodes\x1b[2J", count=12, at=NOW),),
    )
    details = LetterDetails(pod=end).model_dump_json(exclude_none=True)
    found = Letter.of(incoming(encode(trial_message("t")), {"cause": "B", "details": details}))
    text = shown(found)
    for words in ("p2: Evicted: node is full", "terminated: OOMKilled: exit code 137", "FailedScheduling", "12",
                  f"{NOW:%m-%d %H:%M:%S}", "0/9 nodes"):  # fmt: skip
        assert words in text
    assert "\x1b" not in text
    pod = as_json(found, whole=True)["details"]["pod"]
    assert (pod["container"]["exit_code"], pod["events"][0]["count"]) == (137, 12)


@pytest.mark.parametrize("columns", [80, 200])
def test_letters_can_be_read_on_a_narrow_terminal(columns: int) -> None:
    """Id, job, trial, cause and reason are whole words, listed and shown, whatever the width."""
    attributes = {"cause": "PodStartError", "reason": "the image cannot be pulled"}
    message = trial_message("hello-world__AbCdEfG", attempt=3, attempts=3)
    found = Letter.of(incoming(encode(message), attributes))
    listed = printed(letters_view([found], shown=1, everything=[found]), columns=columns)
    for words in (found.id[:4], JOB, "hello-world__AbCdEfG", "3", "PodStartError", "the image cannot be pulled"):
        assert words in listed
    assert "the image cannot be pulled" in printed(letter_view(found, is_committed=False), columns=columns)


def shown(letter: Letter) -> str:
    """What ``dlq show`` prints."""
    return printed(letter_view(letter, is_committed=False), columns=200)


def printed(what: RenderableType, *, columns: int) -> str:
    console = Console(width=columns, file=StringIO(), color_system=None)
    console.print(what)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_letter_without_details_tells_of_its_last_attempt() -> None:
    """Somebody else wrote it, or an older worker did."""
    message = trial_message("t", attempt=2, history=[AttemptRecord(attempt=1, cause="A")])
    found = Letter.of(incoming(encode(message), {"cause": "B", "details": '{"attempts": 3}', "logs": "none"}))
    assert [(each.attempt, each.cause) for each in found.attempts] == [(1, "A"), (2, "B")]
    assert (found.logs, found.details.budget) == (None, 3)


@pytest.mark.parametrize("at", ["yesterday", "2026-11-22T10:00:00", None])
def test_a_time_that_makes_no_sense_is_when_it_was_sent(at: str | None) -> None:
    """Also one without a zone."""
    found = Letter.of(incoming("x", {"cause": "B"} | ({"at": at} if at else {})))
    assert found.at == NOW - timedelta(hours=3)


def test_an_undecodable_letter_says_what_is_wrong_with_it() -> None:
    """It belongs to no job, whatever its attributes claim, and has nothing to replay."""
    found = Letter.of(incoming("hello", {"cause": "UndecodableMessageError", "job": "mine"}))
    assert found.unrunnable is not None
    assert "base64" in found.unrunnable
    assert (found.job, found.trial, found.attempts) == (None, None, ())


def test_what_sqs_moved_gets_its_reason_from_the_state() -> None:
    """Last seen where, when and with whom; and the trial counts as dead from then on, also at the second look."""
    queue, store = MemoryQueue(), MemoryStore()
    queue.put(encode(trial_message("t", history=[AttemptRecord(attempt=1, cause="A")], attempt=2)))
    say(store, Phase.AGENT, attempt=2, pod="p2", attempt_id="02-x")
    (found,) = letters(queue, store)
    assert (found.cause, found.moved_by_sqs, found.worker) == (WORKER_DIED, True, "w7")
    for word in ("SQS gave it up", "phase agent", "worker w7", "pod p2", f"{NOW:%H:%M:%S} UTC"):
        assert word in found.reason
    assert [(each.attempt, each.cause, each.pod) for each in found.attempts] == [(1, "A", None), (2, WORKER_DIED, "p2")]
    dead = state(store)
    assert (dead.phase, dead.attempt, dead.message_id) == (Phase.DEAD, 2, found.id)
    assert dead.reason == f"{WORKER_DIED}: {found.reason}"
    assert letters(queue, store)[0].reason == found.reason


def test_what_sqs_moved_before_anybody_said_anything_is_dead_too() -> None:
    """The first worker died before it wrote a state."""
    queue, store = MemoryQueue(), MemoryStore()
    queue.put(encode(trial_message("t")))
    (found,) = letters(queue, store)
    assert found.cause == WORKER_DIED
    assert (state(store).phase, state(store).worker) == (Phase.DEAD, "unknown")


@pytest.mark.parametrize(
    ("phase", "fields", "becomes_dead"),
    [
        (Phase.COLLECTING, {"since": NOW - timedelta(hours=1)}, True),
        (Phase.COLLECTING, {"since": NOW + timedelta(days=1)}, False),
        (Phase.RETRYING, {"since": NOW - timedelta(hours=1)}, False),
        (Phase.AGENT, {"attempt": 2}, False),
        (Phase.AGENT, {"replay": 1}, False),
        (Phase.DEAD, {"replay": 1}, False),
        (Phase.QUEUED, {"replay": 1}, True),
    ],
)
def test_a_state_that_misses_the_end_is_put_right(phase: Phase, fields: dict[str, Any], becomes_dead: bool) -> None:
    """A worker that could not write it, a replay that was interrupted; never what is newer than the letter."""
    queue, store = MemoryQueue(), MemoryStore()
    put_letter(queue, "t")
    say(store, phase, **fields)
    before = state(store)
    letters(queue, store)
    assert (state(store) != before) is becomes_dead
    assert not becomes_dead or (state(store).phase, state(store).replay) == (Phase.DEAD, 0)


def test_a_letter_that_was_replayed_already_says_nothing_of_the_trial() -> None:
    """Its replay was interrupted before it deleted the letter; the trial is queued."""
    queue, store = MemoryQueue(), MemoryStore()
    put_letter(queue, "t")
    say(store, Phase.QUEUED, replay=1)
    store.objects[replay_key(JOB, "t", 1)] = b"{}"
    letters(queue, store)
    assert state(store).phase is Phase.QUEUED


@pytest.mark.parametrize("before", [Phase.AGENT, Phase.QUEUED, None])
def test_a_trial_that_runs_again_meanwhile_is_not_said_to_be_dead(
    before: Phase | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its letter was replayed, and a worker took it, between the look at its state and the word that it is dead."""
    queue, store = MemoryQueue(), MemoryStore()
    put_letter(queue, "t")
    if before:
        say(store, before, replay=int(before is Phase.QUEUED), since=NOW - timedelta(hours=1))
    exists, get_version = store.exists, store.get_version

    def take() -> None:
        monkeypatch.undo()
        say(store, Phase.STARTING, replay=1)

    def take_before(key: str) -> bool:
        is_there = exists(key)
        take()
        return is_there

    def take_after(key: str) -> ObjectVersion | None:
        version = get_version(key)
        take()
        return version

    if before is Phase.QUEUED:
        monkeypatch.setattr(store, "exists", take_before)
    else:
        monkeypatch.setattr(store, "get_version", take_after)
    letters(queue, store)
    assert (state(store).phase, state(store).replay) == (Phase.STARTING, 1)


def test_a_bucket_that_takes_no_state_does_not_keep_anybody_from_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The letters are shown all the same."""
    queue, store = MemoryQueue(), MemoryStore()
    put_letter(queue, "t")

    def refuse(_key: str, _body: bytes, *, etag: str | None) -> None:
        raise TransientError(f"S3 failed {etag}")

    monkeypatch.setattr(store, "put_if_unchanged", refuse)
    assert len(letters(queue, store)) == 1


def test_the_newest_come_first() -> None:
    """As a person wants them."""
    queue, store = MemoryQueue(), MemoryStore()
    for hours in (2, 0, 1):
        attributes = {"cause": "A", "at": (NOW - timedelta(hours=hours)).isoformat()}
        queue.put(encode(trial_message(f"t{hours}")), attributes)
    assert [found.trial for found in letters(queue, store)] == ["t0", "t1", "t2"]


def test_a_selection_is_every_condition() -> None:
    """By id, job, cause and age."""
    some = [letter(identity="a1"), letter(identity="a2", cause="B"), letter(identity="b1", hours=5)]
    assert Selection().of(some) == some
    assert [each.id for each in Selection(ids=["a1", "b"]).of(some)] == ["a1", "b1"]
    assert [each.id for each in Selection(cause="PodGoneError", since=timedelta(hours=2)).of(some)] == ["a1"]
    assert Selection(job="other").of(some) == []


def test_an_id_is_of_one_letter() -> None:
    """A beginning that fits several, or none, is refused with what there is."""
    some = [letter(identity="abc1"), letter(identity="abd1")]
    assert find(some, "ABC").id == "abc1"
    with pytest.raises(UsageError, match="2 dead letters; say more of it: abc1, abd1"):
        find(some, "ab")
    with pytest.raises(UsageError, match="no dead letter 'x'"):
        find(some, "x")


def test_short_ids_tell_letters_apart() -> None:
    """Eight characters, or as many as it takes."""
    some = [letter(identity=identity) for identity in ("0123456789", "0123456799", "a" * 36)]
    assert short_ids(some) == {"0123456789": "012345678", "0123456799": "012345679", "a" * 36: "a" * 8}


def test_purging_touches_nothing_else() -> None:
    """What came meanwhile stays."""
    queue = MemoryQueue()
    gone = {put_letter(queue, f"t{number}") for number in range(15)}
    stays = put_letter(queue, "new")
    assert purge(cast("Any", queue), gone, on_letters=lambda _count: None) == 15
    assert [stored.id for stored in queue.visible] == [stays]


def test_a_plain_message_can_be_read_by_older_workers() -> None:
    """One that was never replayed nor tried before has none of the new fields."""
    plain = trial_message("t").model_dump(mode="json")
    assert not {"replay", "history", "waits", "refusals", "disruptions"} & plain.keys()
    waiting = trial_message("t", attempt=4, waits=2, refusals=2, disruptions=1)
    assert decode(encode(waiting)) == waiting
    with pytest.raises(UndecodableMessageError, match="more attempts than there were"):
        decode(encode(trial_message("t").model_copy(update={"attempt": 3, "waits": 10**6})))
    replayed = trial_message("t", replay=2, history=[AttemptRecord(attempt=1, cause="A")])
    assert decode(encode(replayed)) == replayed
    assert TrialMessage.model_validate(plain) == trial_message("t")
