"""A stack's events: which belong to what goes on now, how far that is, what failed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

STACK_TYPE = "AWS::CloudFormation::Stack"

_BEGINNINGS = {"REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}
"""How an operation begins, on the stack itself. A rollback belongs to what it rolls back."""

_SKIPPED = "DELETE_SKIPPED"


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One row of DescribeStackEvents."""

    id: str
    resource: str
    """The template's name of it (LogicalResourceId)."""
    type: str
    status: str
    at: datetime
    reason: str | None = None

    @property
    def is_stack(self) -> bool:
        return self.type == STACK_TYPE

    @property
    def is_cause(self) -> bool:
        """Whether it failed by itself, and not because something else had."""
        return self.status.endswith("_FAILED") and not (self.reason or "").lower().endswith("cancelled")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is."""

    done: int
    """Resources that it is done with."""
    total: int | None
    """Resources that it has to do with; ``None`` if that is not known."""
    waiting: tuple[StackEvent, ...]
    """What it is at, the longest first."""
    failures: tuple[StackEvent, ...]
    """What failed by itself, the first first: usually the cause of all that follows."""
    is_rollback: bool
    """Whether it undoes what it did."""


def operation(newest_first: Iterable[StackEvent]) -> list[StackEvent]:
    """The events of what goes on now, or went on last, the oldest first; reads no further back than it must."""
    events: list[StackEvent] = []
    for event in newest_first:
        events.append(event)
        if event.is_stack and event.status in _BEGINNINGS:
            break
    return events[::-1]


def progress(events: Sequence[StackEvent], *, total: int | None) -> Progress:
    """What an operation's events say."""
    current: dict[str, StackEvent] = {}  # of each resource, the first event of the status that it has now
    for event in events:
        if not event.is_stack and (event.resource not in current or current[event.resource].status != event.status):
            current[event.resource] = event
    waiting = [event for event in current.values() if event.status.endswith("_IN_PROGRESS")]
    failures = [event for event in events if event.is_cause and not event.is_stack]
    return Progress(
        done=sum(event.status.endswith("_COMPLETE") or event.status == _SKIPPED for event in current.values()),
        total=total,
        waiting=tuple(sorted(waiting, key=lambda event: event.at)),
        failures=tuple(failures or [event for event in events if _is_the_stacks_own(event)]),
        is_rollback=any(event.is_stack and "ROLLBACK" in event.status for event in events),
    )


def _is_the_stacks_own(event: StackEvent) -> bool:
    """A failure that no resource tells of: the parameters, the template, the permissions of who asked."""
    return event.is_stack and bool(event.reason) and ("FAILED" in event.status or "ROLLBACK_IN" in event.status)
