"""What becomes of an attempt, as tables."""

from __future__ import annotations

import pytest
from harbor.models.job.config import RetryConfig

from harbor_aws.infra.errors import ExecError, PermanentError, PodFailedError
from harbor_aws.worker.outcome import AGENT_OUTCOMES, Commit, DeadLetter, Facts, Retry, backoff_seconds, decide

EXEC = ExecError("the stream ended without a status")
OOM = PodFailedError("out of memory", pod="p", reason="OOMKilled")
NO_IMAGE = PermanentError("there is no such image")


@pytest.mark.parametrize("exception_type", [None, "AgentTimeoutError", "RewardFileNotFoundError", "ApiRateLimitError"])
def test_what_agent_or_verifier_said_is_a_result(exception_type: str | None) -> None:
    """A reward, a time-out of the agent and a missing reward file are committed at the first attempt."""
    assert decide(Facts(attempt=1, attempts=3, exception_type=exception_type), RetryConfig()) == Commit()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(1, 3, [EXEC]), Retry(5.0, "ExecError", str(EXEC))),
        (Facts(2, 3, [OOM, EXEC]), Retry(10.0, "PodFailedError", "out of memory")),
        (Facts(3, 3, [EXEC]), DeadLetter("ExecError", str(EXEC))),
        (Facts(1, 3, [EXEC, NO_IMAGE]), DeadLetter("PermanentError", "there is no such image")),
        (Facts(1, 3, [EXEC], "RewardFileNotFoundError"), Retry(5.0, "ExecError", str(EXEC))),
        (Facts(1, 3, [EXEC], None), Retry(5.0, "ExecError", str(EXEC))),
        (Facts(1, 3, (), "EnvironmentStartTimeoutError", "slow"), Retry(5.0, "EnvironmentStartTimeoutError", "slow")),
        (Facts(3, 3, (), "SomethingUnheardOfError", "?"), DeadLetter("SomethingUnheardOfError", "?")),
    ],
)
def test_infrastructure_failures_never_become_results(facts: Facts, expected: Retry | DeadLetter) -> None:
    """Within the budget they are tried again, then they are dead letters; whatever Harbor made of them."""
    assert decide(facts, RetryConfig()) == expected


@pytest.mark.parametrize(
    ("attempt", "retry", "committed"),
    [
        (1, RetryConfig(), True),
        (1, RetryConfig(max_retries=1), False),
        (2, RetryConfig(max_retries=1), True),
        (1, RetryConfig(max_retries=1, include_exceptions={"OtherError"}), True),
        (1, RetryConfig(max_retries=1, exclude_exceptions={"NonZeroAgentExitCodeError"}), True),
    ],
)
def test_max_retries_keeps_harbors_meaning(attempt: int, retry: RetryConfig, *, committed: bool) -> None:
    """An agent's bad exit is retried as often as --max-retries, --retry-include and --retry-exclude say."""
    outcome = decide(Facts(attempt, 3, exception_type="NonZeroAgentExitCodeError"), retry)
    assert isinstance(outcome, Commit) is committed


def test_never_retried_exceptions_of_harbor_are_outcomes() -> None:
    """Harbor's own list cannot drift away from ours."""
    assert (RetryConfig().exclude_exceptions or set()) <= AGENT_OUTCOMES


def test_backoff_doubles_up_to_a_bound() -> None:
    """5, 10, 20 … and never more than five minutes."""
    assert [backoff_seconds(n) for n in (1, 2, 3, 20)] == [5.0, 10.0, 20.0, 300.0]
