"""The attempts that a message tells of. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.errors import CapacityError, PullRateError, UsageError
from harbor_aws.producer.celery_message import encode

if TYPE_CHECKING:
    from harbor_aws.producer.message import AttemptRecord, TrialMessage

MAX_ATTEMPTS = 20
"""Records that a message carries at most, some 400 bytes each; the oldest give way."""

_WAITS = {CapacityError.__name__, PullRateError.__name__}
"""Causes of attempts that only waited."""

REASON_CHARACTERS = 200
"""Of an earlier attempt's reason; its logs have all of it."""


def with_attempt(history: tuple[AttemptRecord, ...], ended: AttemptRecord) -> tuple[AttemptRecord, ...]:
    """``history`` with one more attempt, which alone says what the trial has consumed; if it does not, others do."""
    short = ended.model_copy(update={"reason": ended.reason[:REASON_CHARACTERS]})
    if ended.consumed is not None:
        history = tuple(record.model_copy(update={"consumed": None}) for record in history)
    return _joined(history, short)[-MAX_ATTEMPTS:]


def _joined(history: tuple[AttemptRecord, ...], ended: AttemptRecord) -> tuple[AttemptRecord, ...]:
    """Waits for capacity that follow one another are one record: a day of them would leave no other."""
    last = history[-1] if history else None
    if last is None or not {last.cause, ended.cause} <= _WAITS or last.replay != ended.replay:
        return (*history, ended)
    since = {"began_at": last.began_at, "consumed": ended.consumed or last.consumed}
    return (*history[:-1], ended.model_copy(update=since))


def encode_fitting(message: TrialMessage) -> str:
    """The SQS body of ``message``, without as many of its oldest attempts as make it too large.

    Raises:
        UsageError: it is too large without any.
    """
    try:
        return encode(message)
    except UsageError:
        if not message.history:
            raise
    return encode_fitting(message.model_copy(update={"history": message.history[1:]}))
