"""A time-out is the agent's or the verifier's own only if they had their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harbor.models.trial.result import ExceptionInfo, StepResult, TimingInfo, TrialResult

from harbor_aws.worker.evidence import time_lost
from harbor_aws.worker.outages import Outages
from harbor_aws.worker.span import Span

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
MONOTONIC = 5000.0
"""What the monotonic clock said when the attempt began."""


def at(seconds: float) -> datetime:
    """A moment so long after the attempt began, by the wall clock."""
    return BEGAN + timedelta(seconds=seconds)


def took(seconds: float, *, since: float = 0.0) -> TimingInfo:
    return TimingInfo(started_at=at(since), finished_at=at(since + seconds))


def outages(*stretches: tuple[float, float]) -> Outages:
    """From and to so many seconds after the attempt began."""
    known = Outages()
    known.add_all((MONOTONIC + began, MONOTONIC + ended) for began, ended in stretches)
    return known


def span(seconds: float, *, step_seconds: float = 0.0) -> Span:
    """So long an attempt, in which somebody set the wall clock forward, or back."""
    return Span(MONOTONIC, MONOTONIC + seconds, BEGAN, at(seconds + step_seconds))


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
    known = outages((0.0, outage_seconds))
    assert (time_lost(given, outages=known, span=span(3600.0)) is not None) == is_lost


def test_outages_add_up() -> None:
    """Three cuts that each took less than a twentieth of an agent's 900 s took more together."""
    given = result("AgentTimeoutError", agent=900.0)
    cuts = [(100.0, 140.0), (400.0, 440.0), (700.0, 740.0)]
    assert time_lost(given, outages=outages(*cuts[:1]), span=span(950.0)) is None
    lost = time_lost(given, outages=outages(*cuts), span=span(950.0))
    assert lost is not None
    assert "after 900 s, but for 120 s" in str(lost)


def test_outages_at_another_time_took_none_of_it() -> None:
    """What the agent lost is not the verifier's, nor is what the pod's start lost."""
    given = result("VerifierTimeoutError")
    assert given.verifier is not None
    given.verifier = took(60.0, since=1000.0)
    assert time_lost(given, outages=outages((0.0, 999.0)), span=span(1100.0)) is None
    assert time_lost(given, outages=outages((0.0, 999.0), (1057.0, 1070.0)), span=span(1100.0)) is not None


@pytest.mark.parametrize(
    ("step_seconds", "outage_seconds", "is_lost"),
    [
        (7200.0, 60.0, True),
        (7200.0, 40.0, False),
        (-7200.0, 60.0, True),
        (-7200.0, 40.0, False),
        (-7200.0, 2.0, False),
    ],
)
def test_a_step_of_the_wall_clock_makes_no_time(step_seconds: float, outage_seconds: float, *, is_lost: bool) -> None:
    """An agent's 900 s of an attempt of 960 s, by a wall clock that was set by two hours meanwhile."""
    given = result("AgentTimeoutError", agent=900.0 + step_seconds)
    known = outages((100.0, 100.0 + outage_seconds))
    assert (time_lost(given, outages=known, span=span(960.0, step_seconds=step_seconds)) is not None) == is_lost


def test_a_clock_that_was_set_back_again() -> None:
    """Both clocks agree on the attempt, but not on the agent's time, which is then not longer than the attempt."""
    given = result("AgentTimeoutError", agent=8100.0)
    assert time_lost(given, outages=outages((100.0, 160.0)), span=span(960.0)) is not None
