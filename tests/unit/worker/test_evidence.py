"""A time-out is the agent's or the verifier's own only if they had their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harbor.models.trial.result import ExceptionInfo, StepResult, TimingInfo, TrialResult

from harbor_aws.worker.evidence import time_lost

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def took(seconds: float) -> TimingInfo:
    return TimingInfo(started_at=BEGAN, finished_at=BEGAN + timedelta(seconds=seconds))


def exception(kind: str) -> ExceptionInfo:
    return ExceptionInfo(exception_type=kind, exception_message="", exception_traceback="", occurred_at=BEGAN)


def result(kind: str | None, *, agent: float = 100.0, verifier: float = 10.0, in_step: bool = False) -> TrialResult:
    parts: dict[str, Any] = {
        "exception_info": exception(kind) if kind else None,
        "agent_execution": took(agent),
        "verifier": took(verifier),
    }
    if in_step:
        step = StepResult.model_construct(**parts)
        return TrialResult.model_construct(exception_info=None, step_results=[step])
    return TrialResult.model_construct(**parts, step_results=None)


@pytest.mark.parametrize(
    ("given", "outage_seconds", "is_lost"),
    [
        (result("AgentTimeoutError"), 0.0, False),
        (result("AgentTimeoutError"), 4.9, False),
        (result("AgentTimeoutError"), 5.0, True),
        (result("AgentTimeoutError", agent=3600.0), 30.0, False),
        (result("AgentTimeoutError", in_step=True), 5.0, True),
        (result("VerifierTimeoutError"), 0.4, False),
        (result("VerifierTimeoutError"), 0.5, True),
        (result("NonZeroAgentExitCodeError"), 50.0, False),
        (result(None), 50.0, False),
        (None, 50.0, False),
    ],
)
def test_a_twentieth_of_the_time_is_too_much(
    given: TrialResult | None, outage_seconds: float, *, is_lost: bool
) -> None:
    """Agents' and verifiers' time-outs, of trials and of steps, and nothing else."""
    assert (time_lost(given, outage_seconds=outage_seconds) is not None) == is_lost
