"""What a message tells of the attempts before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harbor_aws.producer.history import MAX_ATTEMPTS, with_attempt
from harbor_aws.producer.message import AttemptRecord, TrialMessage
from harbor_aws.producer.usage import Consumption

SAID = Consumption(pods=2, vcpu_hours=1.5)


def record(consumed: Consumption | None = None) -> AttemptRecord:
    return AttemptRecord(attempt=1, cause="ExecError", consumed=consumed)


def message(*history: AttemptRecord) -> TrialMessage:
    return TrialMessage(job="j", trial="t", bundle="0" * 64, trial_config={}, history=history)


@pytest.mark.parametrize(
    ("history", "consumed"),
    [
        ((), Consumption()),
        ((record(),), Consumption()),
        ((record(SAID),), SAID),
        ((record(SAID), record()), SAID),  # an older version's worker had it since
        ((record(Consumption(pods=1)), record(SAID)), SAID),
    ],
)
def test_the_newest_that_is_told_of_consumption_counts(
    history: tuple[AttemptRecord, ...], consumed: Consumption
) -> None:
    """Each attempt tells of the trial up to its end, so the last one has all."""
    assert message(*history).consumed == consumed


def test_consumption_is_told_once_and_never_forgotten() -> None:
    """However many attempts there were, and though the oldest are not told of."""
    history: tuple[AttemptRecord, ...] = ()
    for number in range(2 * MAX_ATTEMPTS):
        history = with_attempt(history, record(Consumption(pods=number)))
    assert [each.consumed for each in history if each.consumed] == [Consumption(pods=2 * MAX_ATTEMPTS - 1)]
    assert message(*with_attempt(history, record())).consumed.pods == 2 * MAX_ATTEMPTS - 1


def test_a_message_of_the_version_before() -> None:
    """Its attempts say nothing of consumption, and it is read all the same."""
    older: dict[str, Any] = message(record()).model_dump(mode="json")
    del older["history"][0]["consumed"]
    assert TrialMessage.model_validate(older).consumed == Consumption()


def test_a_message_for_the_version_before() -> None:
    """That version refuses messages with a field that it does not know, and not attempts with one."""
    assert "consumed" not in message(record(SAID)).model_dump()
    assert AttemptRecord.model_validate({"attempt": 1, "cause": "x", "of a later version": 1}).cause == "x"


def test_waits_for_capacity_leave_the_other_attempts_in_sight() -> None:
    """A day of them is one record, from the first wait on, with all that was consumed; another replay's is another."""
    history = with_attempt((), AttemptRecord(attempt=1, cause="OutOfMemoryError", consumed=SAID))
    began = datetime(2026, 11, 23, tzinfo=UTC)
    for number in range(2, 100):
        wait = AttemptRecord(attempt=number, cause="CapacityError", began_at=began + timedelta(minutes=15 * number))
        history = with_attempt(history, wait)
    assert [(each.attempt, each.cause) for each in history] == [(1, "OutOfMemoryError"), (99, "CapacityError")]
    assert history[1].began_at == began + timedelta(minutes=30)
    assert message(*history).consumed == SAID
    assert len(with_attempt(history, AttemptRecord(attempt=1, replay=1, cause="CapacityError"))) == 3
