"""What an attempt is judged by: its message, what its environments saw, and what Harbor recorded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.models.job.config import RetryConfig
from pydantic import ValidationError

from harbor_aws.worker.outcome import Facts, Outcome, Recorded, decide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor.models.trial.result import TrialResult

    from harbor_aws.producer.message import TrialMessage
    from harbor_aws.worker.attempt import Attempt


def judge(message: TrialMessage, attempt: Attempt, result: TrialResult | None) -> Outcome:
    """The ending of an attempt; ``result`` is Harbor's, or ``None`` if it came to none."""
    try:
        retry = RetryConfig(**message.retry)
    except ValidationError:
        retry = RetryConfig()  # the trial was not made for that reason, which is among the failures
    return decide(
        Facts(
            attempt=message.attempt,
            attempts=message.attempts,
            agent_retries=message.agent_retries,
            failures=attempt.failures,
            recorded=list(_recorded(result)) if result else (),
        ),
        retry,
    )


def _recorded(result: TrialResult) -> Iterator[Recorded]:
    """Every exception that Harbor recorded, the trial's own first, then its steps'."""
    steps = result.step_results or []
    if result.exception_info is not None:
        began = result.agent_execution is not None or any(step.agent_execution is not None for step in steps)
        yield Recorded(result.exception_info.exception_type, result.exception_info.exception_message, began)
    for step in steps:
        if step.exception_info is not None:
            info = step.exception_info
            yield Recorded(info.exception_type, info.exception_message, step.agent_execution is not None)
