"""What an attempt is judged by: its message, what its environments saw, and what Harbor recorded. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.models.job.config import RetryConfig
from pydantic import ValidationError

from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.worker.outcome import Facts, Outcome, Recorded, decide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from harbor.models.trial.result import StepResult, TimingInfo, TrialResult

    from harbor_aws.producer.message import TrialMessage
    from harbor_aws.worker.attempt import Attempt
    from harbor_aws.worker.outages import Outages
    from harbor_aws.worker.span import Span


LOST_SHARE = 0.05
"""Of the time that an agent or a verifier was given: if outages took so much of it, that it ran out says nothing."""


class TimeLostError(InfrastructureError):
    """The agent or the verifier ran out of time, and outages had taken a good part of that."""


def time_lost(result: TrialResult | None, *, outages: Outages, span: Span) -> TimeLostError | None:
    """Whether a time-out that Harbor recorded is to be put down to outages.

    Only what they took of the time that ran out counts. Harbor times that by the wall clock: if this was set meanwhile,
    nobody knows when it was, and all outages of the attempt count.

    Args:
        span: from when the attempt began until now.
    """
    if result is None:
        return None
    for part in (result, *(result.step_results or ())):
        timing = _of_time_out(part)
        if timing is None:
            continue
        seconds, lost_seconds = _given_and_lost(*timing, outages=outages, span=span)
        if lost_seconds and lost_seconds >= LOST_SHARE * seconds:
            return TimeLostError(
                f"Harbor recorded a time-out after {seconds:.0f} s, but for {lost_seconds:.0f} s its pod could not be "
                "seen, or the worker stood still."
            )
    return None


def _of_time_out(part: TrialResult | StepResult) -> tuple[datetime, datetime] | None:
    """When the agent or the verifier that ran out of time began and ended; ``None`` if neither did."""
    timings: dict[str, TimingInfo | None] = {
        "AgentTimeoutError": part.agent_execution,
        "VerifierTimeoutError": part.verifier,
    }
    timing = timings.get(part.exception_info.exception_type) if part.exception_info else None
    if timing is None or timing.started_at is None or timing.finished_at is None:
        return None
    return timing.started_at, timing.finished_at


def _given_and_lost(
    started_at: datetime, finished_at: datetime, *, outages: Outages, span: Span
) -> tuple[float, float]:
    """Seconds that a part of an attempt had, and how many of them outages took."""
    part = span.part(started_at, finished_at)
    if part is None:
        return span.seconds_of(started_at, finished_at), outages.seconds_within(span.began, span.ended)
    began, ended = part
    return ended - began, outages.seconds_within(began, ended)


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
