"""Watching CloudFormation, on recorded event streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.infra.deploy import event_streams
from tests.unit.infra.deploy.event_streams import NAME
from tests.unit.infra.deploy.fake_cloudformation import FakeCloudFormation, client_error
from tests.unit.infra.deploy.watching import Memory, stacks_on

from harbor_aws.infra.deploy import follow as follow_module
from harbor_aws.infra.deploy.follow import (
    Ending,
    InterruptedWatchError,
    StackFailedError,
    follow,
    newest_event,
)
from harbor_aws.infra.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.unit.infra.deploy.event_streams import Row

    from harbor_aws.infra.deploy.events import Progress

AGAIN = "harbor-aws deploy --stack team"


def watch(
    fake: FakeCloudFormation, memory: Memory, *, total: int | None = 3, failing: Sequence[Exception] = ()
) -> Ending:
    """Begin what the fake plays next, and follow it to its end, with the first looks failing."""
    stacks = stacks_on(fake)
    after = newest_event(stacks, f"arn:{NAME}")
    fake.go_on()
    fake.failing_looks += failing
    return follow(stacks, f"arn:{NAME}", watcher=memory, total=total, after=after, again=AGAIN)


@pytest.mark.parametrize("rows_per_look", [1, 3, 100])
def test_a_creation_to_its_end(rows_per_look: int) -> None:
    """However much happens between two looks: progress only grows, and ends with all done."""
    memory = Memory()
    fake = FakeCloudFormation(event_streams.REVIEW, plays=[event_streams.CREATION], rows_per_look=rows_per_look)
    ending = watch(fake, memory)
    assert (ending.stack.status, ending.failures) == ("CREATE_COMPLETE", ())
    done = [now.done for now in memory.seen]
    assert done == sorted(done)
    assert (done[-1], memory.failures) == (3, [])
    ending.raise_if_failed(again=AGAIN)


def test_what_ended_before_is_not_the_end() -> None:
    """A stack at rest is not yet begun: CloudFormation takes its time between a request and its first event."""
    fake = FakeCloudFormation(event_streams.CREATION, plays=[event_streams.UPDATE], rows_per_look=0)
    looks = 0

    def get_paginator(operation: str) -> Any:
        nonlocal looks
        looks += 1
        fake.rows_per_look = 1 if looks > 5 else 0
        return FakeCloudFormation.get_paginator(fake, operation)

    fake.get_paginator = get_paginator  # type: ignore[method-assign]  # the same, but later
    assert watch(fake, Memory(), total=1).stack.status == "UPDATE_COMPLETE"
    assert looks > 5


@pytest.mark.parametrize(
    ("past", "play", "status", "resource", "words"),
    [
        (event_streams.REVIEW, event_streams.CREATION_WITHOUT_ADDRESS, "ROLLBACK_COMPLETE", "NatAddress", "L-0263D0A3"),
        (
            event_streams.CREATION,
            event_streams.UPDATE_WITHOUT_PERMISSION,
            "UPDATE_ROLLBACK_COMPLETE",
            "Cluster",
            "lack this permission",
        ),
        (
            event_streams.CREATION,
            event_streams.DELETION_WITH_PODS_LEFT,
            "DELETE_FAILED",
            "PrivateSubnetA",
            "Run the command again",
        ),
        (event_streams.REVIEW, event_streams.REFUSED_AS_A_WHOLE, "ROLLBACK_COMPLETE", NAME, "lack this permission"),
    ],
)
def test_a_failure_is_told_once_and_at_once(
    past: Sequence[Row], play: Sequence[Row], status: str, resource: str, words: str
) -> None:
    """With what to do; before CloudFormation has undone the rest; and again in the error at the end."""
    memory = Memory()
    fake = FakeCloudFormation(past, plays=[play])
    ending = watch(fake, memory)
    assert ending.stack.status == status
    ((failed, advice),) = memory.failures
    assert failed == resource
    assert words in (advice or "")
    first = next(number for number, now in enumerate(memory.seen) if now.failures)
    assert first < len(memory.seen) - 1
    with pytest.raises(StackFailedError, match=words) as raised:
        ending.raise_if_failed(again=AGAIN)
    assert f"`{AGAIN}` goes on from here." in str(raised.value)
    assert status in str(raised.value)


def test_a_deletion_to_its_end() -> None:
    """The stack is known by its id to the last, and what is retained counts as done."""
    memory = Memory()
    ending = watch(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.DELETION]), memory)
    assert ending.stack.status == "DELETE_COMPLETE"


def test_a_status_of_before_is_not_the_end() -> None:
    """DescribeStacks may lag behind the events: a stack that seems at rest has not ended what has begun."""
    fake = FakeCloudFormation(event_streams.CREATION, plays=[event_streams.UPDATE_WITHOUT_PERMISSION])
    truth = fake.describe_stacks

    def describe_stacks(StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        answer = truth(StackName)
        if answer["Stacks"][0]["StackStatus"].endswith("IN_PROGRESS"):
            answer["Stacks"][0]["StackStatus"] = "CREATE_COMPLETE"
        return answer

    fake.describe_stacks = describe_stacks  # type: ignore[method-assign]  # the same, but late
    assert watch(fake, Memory()).stack.status == "UPDATE_ROLLBACK_COMPLETE"


def test_looks_that_fail_are_made_again() -> None:
    """Throttling and a network that is away for a while do not end the watch."""
    memory = Memory()
    fake = FakeCloudFormation(event_streams.REVIEW, plays=[event_streams.CREATION])
    failing = [client_error("Throttling", "Rate exceeded") for _ in range(5)]
    assert watch(fake, memory, failing=failing).stack.status == "CREATE_COMPLETE"


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """When AWS has not answered for long, the error says so."""
    monkeypatch.setattr(follow_module, "PATIENCE_SECONDS", -1.0)
    fake = FakeCloudFormation(event_streams.REVIEW, plays=[event_streams.CREATION])
    with pytest.raises(TransientError):
        watch(fake, Memory(), failing=[client_error("InternalFailure", "", status=500)])


def test_ctrl_c_says_that_it_goes_on() -> None:
    """And how to take it up; the exit code will be that of Ctrl-C."""

    class Interrupted(Memory):
        def progressed(self, now: Progress) -> None:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedWatchError, match="CloudFormation goes on with it") as raised:
        watch(FakeCloudFormation(event_streams.REVIEW, plays=[event_streams.CREATION]), Interrupted())
    assert AGAIN in str(raised.value)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt)
