"""Which messages of a job were sent is known whatever happens while they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.producer.letter_fakes import JOB, MemoryStore

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.layout import job_key
from harbor_aws.producer import sent
from harbor_aws.producer.sent import SENT_NAME, SendingElsewhereError, held_note

if TYPE_CHECKING:
    from harbor_aws.infra.objects import ObjectStore


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> ObjectStore:
    return cast("ObjectStore", memory)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited for others, without waiting."""
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    return naps


def noted(memory: MemoryStore) -> list[str]:
    trials: list[str] = json.loads(memory.objects[job_key(JOB, SENT_NAME)])["trials"]
    return trials


def test_what_was_sent_adds_up(memory: MemoryStore, store: ObjectStore, naps: list[float]) -> None:
    """Also onto the note of an older version; a holder that ended, by whatever error, is not waited for."""
    memory.objects[job_key(JOB, SENT_NAME)] = b'["a"]'

    def send() -> None:
        with held_note(store, JOB) as note:
            note.sent.add("b")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send()
    assert noted(memory) == ["a", "b"]
    with held_note(store, JOB) as note:
        assert note.before == {"a", "b"}
    assert (noted(memory), naps) == (["a", "b"], [])


def test_who_stood_still_stops(memory: MemoryStore, store: ObjectStore, naps: list[float]) -> None:
    """Another has taken the note of one that seemed dead; the two do not go on both."""
    with held_note(store, JOB) as one:
        one.sent.add("a")
        one.write()
        with held_note(store, JOB) as other:
            assert other.before == {"a"}
            one.sent.add("b")
            with pytest.raises(SendingElsewhereError, match=f"Another enqueue of the job '{JOB}'"):
                one.write()
    assert noted(memory) == ["a"]
    assert naps == [sent.WATCH_SECONDS]


def test_of_two_that_begin_at_once_one_does(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both saw the same note; the second to write it is refused."""
    get_version = store.get_version

    def overtaken(key: str) -> Any:
        monkeypatch.undo()
        version = get_version(key)
        with held_note(store, JOB):
            pass
        return version

    monkeypatch.setattr(store, "get_version", overtaken)
    with pytest.raises(SendingElsewhereError), held_note(store, JOB):
        pass


def test_a_note_whose_answer_was_lost_is_ones_own(
    memory: MemoryStore, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C or a cut connection during the PUT leaves nobody locked out."""
    with held_note(store, JOB) as note:
        put = store.put_if_unchanged

        def put_and_be_cut(key: str, body: bytes, *, etag: str | None) -> str | None:
            monkeypatch.undo()
            put(key, body, etag=etag)
            raise TransientError("cut")

        monkeypatch.setattr(store, "put_if_unchanged", put_and_be_cut)
        with pytest.raises(TransientError, match="cut"):
            note.write()
        note.sent.add("a")
    assert json.loads(memory.objects[job_key(JOB, SENT_NAME)])["is_open"] is False
    assert noted(memory) == ["a"]
