"""What a stack's status asks for next. Pure.

The statuses are those of https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

from enum import Enum, auto


class Step(Enum):
    """What brings a stack nearer to what was asked for."""

    CREATE = auto()
    """There is none."""
    UPDATE = auto()
    """There is one, at rest."""
    FOLLOW = auto()
    """CloudFormation is at it: nothing else can be begun until that ends."""
    CLEAR = auto()
    """What there is can only be deleted: a stack that never came to be, or never went."""
    ROLL_BACK = auto()
    """An update failed, and so did its undoing, which must be taken up first."""


_DELETED = "DELETE_COMPLETE"
_UNDER_REVIEW = "REVIEW_IN_PROGRESS"
_AT_REST = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_FAILED",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}
_SUCCEEDED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", _DELETED}


def next_step(status: str | None) -> Step:
    """What to do about a stack in this status; ``None`` means that there is none."""
    if status is None or status == _DELETED:
        return Step.CREATE
    if status in _AT_REST:
        return Step.UPDATE
    if is_under_way(status):
        return Step.FOLLOW
    if status == "UPDATE_ROLLBACK_FAILED":
        return Step.ROLL_BACK
    return Step.CLEAR


def is_under_way(status: str) -> bool:
    """Whether CloudFormation will change the status by itself. A change set under review waits for us."""
    return status.endswith("_IN_PROGRESS") and status != _UNDER_REVIEW


def is_success(status: str) -> bool:
    """Whether a creation, update or deletion ended as it was meant to."""
    return status in _SUCCEEDED
