"""Every message is seen once, and none stays hidden."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, cast

import pytest
from tests.unit.producer.letter_fakes import MemoryQueue

from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.producer.dead_letters import sweep as sweep_module
from harbor_aws.producer.dead_letters.sweep import HIDE_SECONDS, Sweep

if TYPE_CHECKING:
    from harbor_aws.infra.queues import IncomingMessage, Queue


def filled(count: int) -> MemoryQueue:
    queue = MemoryQueue()
    for number in range(count):
        queue.put(f"{number}")
    return queue


def as_queue(queue: MemoryQueue) -> Queue:
    return cast("Queue", queue)


def interrupt(sweep: Sweep, error: type[BaseException]) -> None:
    next(iter(sweep))
    raise error


def seen(queue: MemoryQueue) -> list[str]:
    with Sweep(as_queue(queue)) as sweep:
        return [message.body for batch in sweep for message in batch]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again at once."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.mark.parametrize("count", [0, 1, 10, 11, 137, 1000])
def test_every_message_is_seen_once(count: int) -> None:
    """Whatever the order; then all of them are visible again at once, and again to whoever looks next."""
    queue = filled(count)
    assert sorted(seen(queue), key=int) == [str(number) for number in range(count)]
    assert len(queue.visible) == count
    assert len(seen(queue)) == count


def test_the_time_of_hiding_grows_with_the_queue() -> None:
    """A killed listing hides messages for a minute or so, not for hours."""
    few, many = filled(5), filled(3000)
    seen(few), seen(many)
    assert (few.longest_hide, many.longest_hide) == (HIDE_SECONDS, HIDE_SECONDS + 30)


def test_messages_that_come_back_meanwhile_are_not_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that takes longer than they are hidden still ends, and has seen each once."""
    monkeypatch.setattr(sweep_module, "HIDE_SECONDS", 0)
    queue = filled(60)
    assert sorted(seen(queue), key=int) == [str(number) for number in range(60)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, PermanentError, ZeroDivisionError])
def test_an_interrupted_sweep_gives_everything_back(error: type[BaseException]) -> None:
    """Also what is being received at that moment."""
    queue = filled(100)
    with pytest.raises(error), Sweep(as_queue(queue)) as sweep:
        interrupt(sweep, error)
    assert len(queue.visible) == 100


def test_what_is_deleted_is_gone_and_the_rest_is_back() -> None:
    """Deleting within a sweep."""
    queue = filled(50)
    with Sweep(as_queue(queue)) as sweep:
        for batch in sweep:
            sweep.delete([message for message in batch if int(message.body) % 2])
    assert sorted(int(stored.body) for stored in queue.visible) == list(range(0, 50, 2))


def test_a_receive_whose_answer_was_lost_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQS has hidden messages that nobody got: the sweep goes on until they are back."""
    monkeypatch.setattr(sweep_module, "HIDE_SECONDS", 1)
    queue = filled(25)
    failures = iter([True, False, True])

    def fail(operation: str) -> None:
        if operation == "receive" and next(failures, False):
            raise TransientError("read timeout")

    queue.fail = fail
    assert sorted(seen(queue), key=int) == [str(number) for number in range(25)]


def test_what_a_lost_answer_hid_is_looked_for_after_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty answer that comes after that moment counts for nothing if the server looked before it."""
    monkeypatch.setattr(sweep_module, "HIDE_SECONDS", 1)
    queue = filled(9)
    receive = queue.receive
    failures = iter([True])

    def slow_receive(**asked: int) -> list[IncomingMessage]:
        found = receive(**asked)
        Event().wait(0.7)
        return found

    def fail(operation: str) -> None:
        if operation == "receive" and next(failures, False):
            raise TransientError("HTTP 500")

    queue.fail = fail
    monkeypatch.setattr(queue, "receive", slow_receive)
    assert len(seen(queue)) == 9


def test_a_queue_that_does_not_answer_is_given_up() -> None:
    """After some tries, with SQS's own words; what was received before is given back."""
    queue = filled(100)
    calls = iter(range(1000))

    def fail(operation: str) -> None:
        if operation == "receive" and next(calls) > 3:
            raise TransientError("HTTP 503")

    queue.fail = fail
    with pytest.raises(TransientError, match="503"):
        seen(queue)
    assert len(queue.visible) < 100
    queue.let_time_pass()
    assert len(queue.visible) == 100


def test_a_failed_release_is_only_said(caplog: pytest.LogCaptureFixture) -> None:
    """The messages come back by themselves."""
    queue = filled(3)

    def fail(operation: str) -> None:
        if operation == "release":
            raise TransientError("HTTP 503")

    queue.fail = fail
    assert len(seen(queue)) == 3
    assert "could not be given back" in caplog.text


def test_a_huge_queue_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQS lets only so many be hidden at once."""
    monkeypatch.setattr(sweep_module, "MOST_HELD", 20)
    queue = filled(200)
    with Sweep(as_queue(queue)) as sweep:
        assert len([message for batch in sweep for message in batch]) < 200
    assert sweep.is_cut_off
    assert len(queue.visible) == 200


def test_what_somebody_else_holds_is_counted() -> None:
    """A listing says that it could not see everything."""
    queue = filled(5)
    queue.receive(count=2, hide_seconds=60)
    with Sweep(as_queue(queue)) as sweep:
        assert len([message for batch in sweep for message in batch]) == 3
    assert sweep.hidden_before == 2
    assert len(queue.visible) == 3
