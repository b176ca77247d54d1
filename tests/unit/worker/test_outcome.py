"""What becomes of an attempt, as tables."""

from __future__ import annotations

import pytest
from harbor.models.job.config import RetryConfig
from tests.unit.worker import outcome_table

from harbor_aws.infra.errors import ExecError, PermanentError, PodFailedError
from harbor_aws.worker.outcome import (
    AGENT_OUTCOMES,
    Commit,
    DeadLetter,
    Facts,
    Outcome,
    Recorded,
    Retry,
    backoff_seconds,
    decide,
)

EXEC = ExecError("the stream ended without a status")
OOM = PodFailedError("out of memory", pod="p", reason="OOMKilled")
NO_IMAGE = PermanentError("there is no such image")


def by_agent(kind: str) -> Recorded:
    return Recorded(kind, "?", agent_began=True)


def before_agent(kind: str) -> Recorded:
    return Recorded(kind, "?", agent_began=False)


@pytest.mark.parametrize(
    "recorded",
    [
        (),
        (by_agent("AgentTimeoutError"),),
        (by_agent("RewardFileNotFoundError"),),
        (by_agent("NonZeroAgentExitCodeError"), by_agent("AgentTimeoutError")),
    ],
)
def test_what_agent_or_verifier_said_is_a_result(recorded: tuple[Recorded, ...]) -> None:
    """A reward, a time-out of the agent and a missing reward file are committed at the first attempt."""
    assert decide(Facts(1, 3, recorded=recorded), RetryConfig()) == Commit()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(1, 3, failures=[EXEC]), Retry(5.0, "ExecError", str(EXEC))),
        (Facts(2, 3, failures=[OOM, EXEC]), Retry(10.0, "PodFailedError", "out of memory")),
        (Facts(3, 3, failures=[EXEC]), DeadLetter("ExecError", str(EXEC))),
        (Facts(1, 3, failures=[EXEC, NO_IMAGE]), DeadLetter("PermanentError", "there is no such image")),
        (
            Facts(1, 3, failures=[EXEC], recorded=[by_agent("RewardFileNotFoundError")]),
            Retry(5, "ExecError", str(EXEC)),
        ),
        (
            Facts(1, 3, recorded=[by_agent("EnvironmentStartTimeoutError")]),
            Retry(5, "EnvironmentStartTimeoutError", "?"),
        ),
        (Facts(3, 3, recorded=[by_agent("SomethingUnheardOfError")]), DeadLetter("SomethingUnheardOfError", "?")),
        (Facts(1, 3, recorded=[before_agent("NonZeroAgentExitCodeError")]), Retry(5, "NonZeroAgentExitCodeError", "?")),
        (
            Facts(3, 3, recorded=[before_agent("NonZeroAgentExitCodeError")]),
            DeadLetter("NonZeroAgentExitCodeError", "?"),
        ),
        (Facts(1, 3, recorded=[by_agent("ApiRateLimitError")]), Retry(5, "ApiRateLimitError", "?")),
        (Facts(1, 3, recorded=[by_agent("NetworkConnectionError")]), Retry(5, "NetworkConnectionError", "?")),
        (
            Facts(1, 3, recorded=[by_agent("AgentTimeoutError"), before_agent("HealthcheckError")]),
            Retry(5, "HealthcheckError", "?"),
        ),
    ],
)
def test_infrastructure_failures_never_become_results(facts: Facts, expected: Outcome) -> None:
    """An agent that could not be installed, a step without a pod, a provider that is away: tried again, then dead."""
    assert decide(facts, RetryConfig()) == expected


@pytest.mark.parametrize(
    ("agent_retries", "retry", "committed"),
    [
        (0, RetryConfig(), True),
        (0, RetryConfig(max_retries=1), False),
        (1, RetryConfig(max_retries=1), True),
        (0, RetryConfig(max_retries=1, include_exceptions={"OtherError"}), True),
        (0, RetryConfig(max_retries=1, exclude_exceptions={"NonZeroAgentExitCodeError"}), True),
    ],
)
def test_max_retries_keeps_harbors_meaning(agent_retries: int, retry: RetryConfig, *, committed: bool) -> None:
    """An agent's bad exit is retried as often as --max-retries, --retry-include and --retry-exclude say."""
    facts = Facts(agent_retries + 1, 3, agent_retries, recorded=[by_agent("NonZeroAgentExitCodeError")])
    outcome = decide(facts, retry)
    again = Retry(1.0, "NonZeroAgentExitCodeError", "?", charged_to_agent=True)
    assert outcome == (Commit() if committed else again)


def test_the_two_budgets_are_apart() -> None:
    """Retries of the agent's doing use up none of the infrastructure's attempts, nor the other way round."""
    assert decide(Facts(4, 3, 3, failures=[EXEC]), RetryConfig(max_retries=5)) == Retry(5.0, "ExecError", str(EXEC))
    bad_exit = [by_agent("NonZeroAgentExitCodeError")]
    assert isinstance(decide(Facts(3, 3, 0, recorded=bad_exit), RetryConfig(max_retries=1)), Retry)


def test_never_retried_exceptions_of_harbor_are_outcomes() -> None:
    """Harbor's own list cannot drift away from ours."""
    assert (RetryConfig().exclude_exceptions or set()) <= AGENT_OUTCOMES


def test_backoff_doubles_up_to_a_bound() -> None:
    """5, 10, 20 … and never more than five minutes."""
    assert [backoff_seconds(n) for n in (1, 2, 3, 20)] == [5.0, 10.0, 20.0, 300.0]


def test_the_documents_table_is_what_is_decided() -> None:
    """Whoever changes a decision changes docs/failures.md."""
    document = outcome_table.DOCUMENT.read_text()
    expected = outcome_table.written(document, outcome_table.table())
    assert document == expected, "write it anew: python -m tests.unit.worker.outcome_table"


def test_every_way_of_ending_is_in_the_table() -> None:
    """And no two rows are the same failure."""
    table = outcome_table.table()
    assert all(words in table for words in ("a result", "again after", "dead letter"))
    assert len({failure.what for failure in outcome_table.FAILURES}) == len(outcome_table.FAILURES)
