"""Progress and failures, from recorded event streams."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.unit.infra.deploy import event_streams
from tests.unit.infra.deploy.fake_cloudformation import START

from harbor_aws.infra.deploy.events import StackEvent, operation, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.unit.infra.deploy.event_streams import Row


def events(rows: Sequence[Row]) -> list[StackEvent]:
    """The rows as the door gives them, the oldest first."""
    return [
        StackEvent(
            id=str(number),
            resource=row.resource,
            type=row.type,
            status=row.status,
            at=START + timedelta(seconds=row.second),
            reason=row.reason,
        )
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("seen", "done", "waiting"),
    [
        (1, 0, []),
        (4, 0, ["Vpc", "TrialsQueue"]),
        (6, 1, ["TrialsQueue"]),
        (8, 1, ["TrialsQueue", "Cluster"]),
        (9, 2, ["Cluster"]),
        (11, 3, []),
    ],
)
def test_how_far_a_creation_is(seen: int, done: int, waiting: list[str]) -> None:
    """What is done, and what it waits for, the longest first; since when is the first event's time."""
    now = progress(events(event_streams.CREATION[:seen]), total=3)
    assert (now.done, now.total, [event.resource for event in now.waiting]) == (done, 3, waiting)
    assert (now.failures, now.is_rollback) == ((), False)
    if waiting == ["Cluster"]:
        assert now.waiting[0].at == START + timedelta(seconds=30)


def test_the_cause_alone_is_a_failure() -> None:
    """Not what was cancelled because of it; and it stays known while the rest is undone."""
    for seen in range(6, len(event_streams.CREATION_WITHOUT_ADDRESS) + 1):
        now = progress(events(event_streams.CREATION_WITHOUT_ADDRESS[:seen]), total=3)
        assert [(event.resource, event.reason) for event in now.failures] == [
            ("NatAddress", event_streams.ADDRESS_REASON)
        ]
        assert now.is_rollback == (seen >= 9)


def test_a_failure_of_the_stack_itself() -> None:
    """Where no resource failed, the stack's own reason is told."""
    now = progress(events(event_streams.REFUSED_AS_A_WHOLE), total=None)
    assert [event.status for event in now.failures] == ["ROLLBACK_IN_PROGRESS"]
    assert progress(events(event_streams.DELETION_WITH_PODS_LEFT), total=2).failures[0].resource == "PrivateSubnetA"


def test_a_skipped_deletion_is_done() -> None:
    """A bucket that is retained keeps nobody waiting."""
    assert progress(events(event_streams.DELETION), total=3).done == 3


def test_only_the_last_operation_counts() -> None:
    """However long the stack's history is; no more of it is read than that."""
    past = [*event_streams.REVIEW, *event_streams.CREATION]
    read = 0

    def newest_first(rows: list[StackEvent]):  # type: ignore[no-untyped-def]  # a generator of what is given
        nonlocal read
        for event in reversed(rows):
            read += 1
            yield event

    found = operation(newest_first(events([*past, *event_streams.UPDATE])))
    assert [event.status for event in found][::4] == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]
    assert read == len(event_streams.UPDATE)
    assert operation(reversed(events(event_streams.REVIEW)))[0].status == "REVIEW_IN_PROGRESS"
