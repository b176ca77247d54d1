"""Every status of CloudFormation's, and what it asks for."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from harbor_aws.infra.deploy.steps import Step, is_success, is_under_way, next_step

STEPS = {
    "CREATE_IN_PROGRESS": Step.FOLLOW,
    "CREATE_FAILED": Step.CLEAR,
    "CREATE_COMPLETE": Step.UPDATE,
    "ROLLBACK_IN_PROGRESS": Step.FOLLOW,
    "ROLLBACK_FAILED": Step.CLEAR,
    "ROLLBACK_COMPLETE": Step.CLEAR,
    "DELETE_IN_PROGRESS": Step.FOLLOW,
    "DELETE_FAILED": Step.CLEAR,
    "DELETE_COMPLETE": Step.CREATE,
    "UPDATE_IN_PROGRESS": Step.FOLLOW,
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": Step.FOLLOW,
    "UPDATE_COMPLETE": Step.UPDATE,
    "UPDATE_FAILED": Step.UPDATE,
    "UPDATE_ROLLBACK_IN_PROGRESS": Step.FOLLOW,
    "UPDATE_ROLLBACK_FAILED": Step.ROLL_BACK,
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": Step.FOLLOW,
    "UPDATE_ROLLBACK_COMPLETE": Step.UPDATE,
    "REVIEW_IN_PROGRESS": Step.CLEAR,
    "IMPORT_IN_PROGRESS": Step.FOLLOW,
    "IMPORT_COMPLETE": Step.UPDATE,
    "IMPORT_ROLLBACK_IN_PROGRESS": Step.FOLLOW,
    "IMPORT_ROLLBACK_FAILED": Step.CLEAR,
    "IMPORT_ROLLBACK_COMPLETE": Step.UPDATE,
}


def test_every_status_is_known() -> None:
    """The table has all that botocore's model of CloudFormation has."""
    shape = get_session().get_service_model("cloudformation").shape_for("StackStatus")
    assert set(STEPS) == set(shape.enum)  # type: ignore[attr-defined]  # a string shape has it


@pytest.mark.parametrize(("status", "step"), [(None, Step.CREATE), *STEPS.items()])
def test_what_a_status_asks_for(status: str | None, step: Step) -> None:
    """As in the table; what is followed is exactly what moves by itself."""
    assert next_step(status) is step
    if status:
        assert is_under_way(status) == (step is Step.FOLLOW)


def test_success() -> None:
    """Only an operation that was not undone."""
    assert {status for status in STEPS if is_success(status)} == {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "DELETE_COMPLETE",
    }
