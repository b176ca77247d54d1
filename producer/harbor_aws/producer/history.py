"""The attempts that a message tells of. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.celery_message import encode

if TYPE_CHECKING:
    from harbor_aws.producer.message import AttemptRecord, TrialMessage

MAX_ATTEMPTS = 20
"""Records that a message carries at most, some 400 bytes each; the oldest give way."""

REASON_CHARACTERS = 200
"""Of an earlier attempt's reason; its logs have all of it."""


def with_attempt(history: tuple[AttemptRecord, ...], ended: AttemptRecord) -> tuple[AttemptRecord, ...]:
    """``history`` with one more attempt."""
    short = ended.model_copy(update={"reason": ended.reason[:REASON_CHARACTERS]})
    return (*history, short)[-MAX_ATTEMPTS:]


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
