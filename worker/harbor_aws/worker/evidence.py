"""What an attempt is judged by: its message, what its environments saw, and what Harbor recorded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.models.job.config import RetryConfig
from pydantic import ValidationError

from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.worker.outcome import Facts, Outcome, Recorded, decide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor.models.trial.result import StepResult, TimingInfo, TrialResult

    from harbor_aws.producer.message import TrialMessage
    from harbor_aws.worker.attempt import Attempt


LOST_SHARE = 0.05
"""Of the time that an agent or a verifier was given: if an outage took so much of it, that it ran out says nothing."""


class TimeLostError(InfrastructureError):
    """The agent or the verifier ran out of time, and an outage had taken a good part of that."""


def time_lost(result: TrialResult | None, *, outage_seconds: float) -> TimeLostError | None:
    """Whether a time-out that Harbor recorded is to be put down to an outage.

    Args:
        outage_seconds: the longest one of the attempt.
    """
    if result is None or not outage_seconds:
        return None
    for part in (result, *(result.step_results or ())):
        seconds = _timed_out_after(part)
        if seconds is not None and outage_seconds >= LOST_SHARE * seconds:
            return TimeLostError(
                f"Harbor recorded a time-out after {seconds:.0f} s, but for {outage_seconds:.0f} s of the attempt its "
                "pod could not be seen, or the worker stood still."
            )
    return None


def _timed_out_after(part: TrialResult | StepResult) -> float | None:
    """Seconds after which the agent or the verifier ran out of time; ``None`` if neither did."""
    timings: dict[str, TimingInfo | None] = {
        "AgentTimeoutError": part.agent_execution,
        "VerifierTimeoutError": part.verifier,
    }
    timing = timings.get(part.exception_info.exception_type) if part.exception_info else None
    if timing is None or timing.started_at is None or timing.finished_at is None:
        return None
    return (timing.finished_at - timing.started_at).total_seconds()


def judge(message: TrialMessage, attempt: Attempt, result: TrialResult | None, *, chance: float = 0.0) -> Outcome:
    """The ending of an attempt.

    Args:
        result: Harbor's, or ``None`` if it came to none.
        chance: from 0 to 1, spreads the trials that wait.
    """
    try:
        retry = RetryConfig(**message.retry)
    except ValidationError:
        retry = RetryConfig()  # the trial was not made for that reason, which is among the failures
    return decide(
        Facts(
            attempt=message.attempt,
            attempts=message.attempts,
            agent_retries=message.agent_retries,
            waits=message.waits,
            disruptions=message.disruptions,
            refusals=message.refusals,
            has_begun=attempt.has_begun,
            earlier_causes=[record.cause for record in message.history if record.replay == message.replay],
            chance=chance,
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
