"""The proxy before SQS and S3: what it lets through, what it breaks, and what it tells the history."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.chaos.jobs.aws_proxy import AwsProxy
from tests.chaos.jobs.events import Kind
from tests.chaos.jobs.history import History
from tests.chaos.jobs.misfortunes import LoseAnswer, LoseRequest, Refuse, Twice
from tests.integration.moto_stack import make_stack, moto_server

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.layout import result_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import OutgoingMessage, Queue
from harbor_aws.producer.celery_message import encode
from harbor_aws.producer.message import TrialMessage
from harbor_aws.worker.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.chaos.jobs.calls import Call
    from tests.chaos.jobs.misfortunes import Misfortune, Weather

    from harbor_aws.infra.stack import Stack

MESSAGE = TrialMessage(job="job", trial="task__1", bundle="0" * 64, trial_config={})
RESULT = result_key("job", "task__1")


class Scene:
    """A stack, seen by two workers through the proxy."""

    def __init__(self, stack: Stack, ways: list[str], proxy: AwsProxy, history: History) -> None:
        self.stacks = [stack.model_copy(update={"endpoint_url": way}) for way in ways]
        self.direct = stack
        self.proxy = proxy
        self.history = history

    def inbox(self, number: int) -> Inbox:
        return Inbox.of(self.stacks[number], slots=1)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.history.events if event.kind is not Kind.FAULT]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """moto's server of this module."""
    with moto_server() as url:
        yield url


@asynccontextmanager
async def scene(moto: str, directory: Path) -> AsyncIterator[Scene]:
    async with History.open(directory / "history") as history, AwsProxy.open(moto, history) as proxy:
        stack = make_stack(moto, kubeconfig=directory / "none")
        proxy.dead_letter_queue_url = stack.dead_letter_queue_url
        ways = [await proxy.way_for(name) for name in ("w1", "w2")]
        yield Scene(stack, ways, proxy, history)


def on(operation: str, misfortune: Misfortune, *, times: int = 1000) -> Weather:
    left = [misfortune] * times

    def weather(call: Call) -> Misfortune | None:
        return left.pop() if call.operation == operation and left else None

    return weather


async def test_a_message_and_a_result_leave_their_trace(moto: str, tmp_path: Path) -> None:
    """Sent, received, extended, committed, refused, acknowledged: each with its trial and its worker."""
    async with scene(moto, tmp_path) as there:
        await asyncio.to_thread(Queue.trials(there.stacks[0]).send, [OutgoingMessage(encode(MESSAGE))])
        inbox, store = there.inbox(1), ObjectStore.of(there.stacks[1])
        [received] = await asyncio.to_thread(inbox.receive, 1, visibility_timeout_seconds=30)
        await asyncio.to_thread(inbox.extend, {received.receipt: 30})
        assert await asyncio.to_thread(store.put_if_absent, RESULT, b"{}")
        assert not await asyncio.to_thread(store.put_if_absent, RESULT, b"{ }")
        await asyncio.to_thread(inbox.delete, received.receipt)
    assert there.kinds() == ["sent", "received", "extended", "committed", "refused", "acknowledged"]
    assert {event.place for event in there.history.events} == {("job", "task__1")}
    assert [event.actor for event in there.history.events] == ["w1", *["w2"] * 5]


async def test_an_answer_is_lost_after_the_deed(moto: str, tmp_path: Path) -> None:
    """The object is there and the history has it; the caller, who tries again, is refused and finds its own."""
    async with scene(moto, tmp_path) as there:
        there.proxy.weather = on("PUT", LoseAnswer(), times=1)
        store = ObjectStore.of(there.stacks[0])
        assert await asyncio.to_thread(store.put_if_absent, RESULT, b"{}")
    assert there.kinds() == ["committed", "refused"]
    assert there.history.faults() == {"S3: a PUT is done and its answer lost": 1}


@pytest.mark.parametrize("misfortune", [LoseRequest(), Refuse(503, "SlowDown")])
async def test_what_is_refused_or_lost_is_not_done(moto: str, tmp_path: Path, misfortune: Misfortune) -> None:
    """The caller's error is a transient one, and nothing is there."""
    async with scene(moto, tmp_path) as there:
        there.proxy.weather = on("PUT", misfortune)
        with pytest.raises(TransientError):
            await asyncio.to_thread(ObjectStore.of(there.stacks[0]).put, RESULT, b"{}")
        assert not await asyncio.to_thread(ObjectStore.of(there.direct).exists, RESULT)
    assert there.kinds() == []


async def test_a_receive_that_is_not_heard_hides_its_messages(moto: str, tmp_path: Path) -> None:
    """As SQS does: the message is in flight, and nobody has it."""
    async with scene(moto, tmp_path) as there:
        await asyncio.to_thread(Queue.trials(there.direct).send, [OutgoingMessage(encode(MESSAGE))])
        there.proxy.weather = on("ReceiveMessage", LoseAnswer())
        with pytest.raises(TransientError):
            await asyncio.to_thread(there.inbox(0).receive, 1, visibility_timeout_seconds=30)
        counts = await asyncio.to_thread(Queue.trials(there.direct).counts)
        assert (counts.visible, counts.in_flight) == (0, 1)
    assert there.kinds() == ["unheard"]


async def test_a_message_is_given_to_two(moto: str, tmp_path: Path) -> None:
    """The second one has the same message by another receipt, which it may extend and delete in vain."""
    async with scene(moto, tmp_path) as there:
        await asyncio.to_thread(Queue.trials(there.direct).send, [OutgoingMessage(encode(MESSAGE))])
        there.proxy.weather = on("ReceiveMessage", Twice(), times=1)
        [first] = await asyncio.to_thread(there.inbox(0).receive, 1, visibility_timeout_seconds=30)
        [second] = await asyncio.to_thread(there.inbox(1).receive, 1, visibility_timeout_seconds=30)
        assert (first.message_id, first.body) == (second.message_id, second.body)
        assert first.receipt != second.receipt
        result = await asyncio.to_thread(there.inbox(1).extend, {second.receipt: 30})
        assert result.extended == {second.receipt}
        await asyncio.to_thread(there.inbox(1).delete, second.receipt)
        counts = await asyncio.to_thread(Queue.trials(there.direct).counts)
        assert (counts.visible, counts.in_flight) == (0, 1)
    assert [event.note for event in there.history.events if event.kind is Kind.RECEIVED] == ["", "echo"]
