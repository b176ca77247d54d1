"""What becomes of an attempt, as tables."""

from __future__ import annotations

import pytest
from harbor.models.job.config import RetryConfig
from tests.unit.worker import outcome_table

from harbor_aws.infra.errors import (
    CapacityError,
    EvictedError,
    ExecError,
    NoNodeError,
    OutOfMemoryError,
    PermanentError,
    PodFailedError,
    StorageExceededError,
)
from harbor_aws.worker.outcome import (
    AGENT_OUTCOMES,
    FREE_DISRUPTIONS,
    LONGEST_WAIT_SECONDS,
    MOST_REFUSALS,
    Charge,
    Commit,
    DeadLetter,
    Facts,
    Outcome,
    Recorded,
    Retry,
    backoff_seconds,
    decide,
    wait_seconds,
)

EXEC = ExecError("the stream ended without a status")
OOM = PodFailedError("out of memory", pod="p", reason="OOMKilled")
NO_ROOM = CapacityError("no room", pod="p", reason="Unschedulable")
NO_NODE = NoNodeError("no node", pod="p", reason="Pending")
EVICTED = EvictedError("patched", pod="p", reason="EvictionByEvictionAPI")
TOO_SMALL = OutOfMemoryError("too small", pod="p", reason="OOMKilled")
FULL = StorageExceededError("full", pod="p", reason="Evicted")
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
    again = Retry(1.0, "NonZeroAgentExitCodeError", "?", Charge.AGENT)
    assert outcome == (Commit() if committed else again)


def test_the_two_budgets_are_apart() -> None:
    """Retries of the agent's doing use up none of the infrastructure's attempts, nor the other way round."""
    assert decide(Facts(4, 3, 3, failures=[EXEC]), RetryConfig(max_retries=5)) == Retry(5.0, "ExecError", str(EXEC))
    bad_exit = [by_agent("NonZeroAgentExitCodeError")]
    assert isinstance(decide(Facts(3, 3, 0, recorded=bad_exit), RetryConfig(max_retries=1)), Retry)


@pytest.mark.parametrize(("refusals", "delay"), [(0, 30), (1, 60), (4, 480), (5, 900), (MOST_REFUSALS - 2, 900)])
def test_a_trial_waits_for_capacity_at_nobodys_cost(refusals: int, delay: float) -> None:
    """Twice as long each time, whatever its budget, and its first attempt is still its first afterwards."""
    facts = Facts(9, 1, waits=8, failures=[NO_ROOM], refusals=refusals)
    assert decide(facts, RetryConfig()) == Retry(delay, "CapacityError", "no room", Charge.WAIT)
    assert decide(Facts(9, 3, waits=8, failures=[EXEC]), RetryConfig()) == Retry(5.0, "ExecError", str(EXEC))


def test_waiting_for_capacity_has_an_end() -> None:
    """After a day it is a dead letter that says how long it waited, and what for."""
    facts = Facts(100, 3, waits=99, failures=[NO_ROOM], refusals=MOST_REFUSALS - 1)
    assert decide(facts, RetryConfig()) == DeadLetter(
        "CapacityError", "The trial was refused 100 times, for about a day. no room"
    )


def test_a_waiting_trial_costs_few_requests() -> None:
    """A refused pod is waited for two minutes, then its trial waits: ten tries in an hour at most, for about a day."""
    in_place = 120.0
    for chance in (0.0, 1.0):
        tries = [0.0]
        for refusals in range(MOST_REFUSALS):
            tries.append(tries[-1] + in_place + wait_seconds(refusals, chance=chance))
        hours = [sum(start <= each < start + 3600 for each in tries) for start in range(0, int(tries[-1]), 600)]
        assert max(hours) <= 10
        assert max(hours[12:]) <= 5
        assert 20 * 3600 < tries[-1] < 30 * 3600


def test_trials_that_were_refused_together_spread() -> None:
    """By a quarter, and never beyond SQS's longest delay."""
    assert wait_seconds(99, chance=0) == LONGEST_WAIT_SECONDS
    assert wait_seconds(99, chance=1) == 0.75 * LONGEST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("failure", "has_begun"), [(EVICTED, False), (EVICTED, True), (NO_NODE, False), (NO_ROOM, True)]
)
def test_what_is_nobodys_fault_costs_nothing_a_few_times(failure: Exception, *, has_begun: bool) -> None:
    """Then it costs as much as any failure, so that it has an end."""
    charges = []
    attempt = disruptions = 0
    while True:
        attempt += 1
        facts = Facts(attempt, 3, disruptions=disruptions, failures=[failure], has_begun=has_begun)
        outcome = decide(facts, RetryConfig())
        if not isinstance(outcome, Retry):
            break
        charges.append(outcome.charge)
        disruptions += outcome.charge is Charge.DISRUPTION
    assert charges == [Charge.DISRUPTION] * FREE_DISRUPTIONS + [Charge.INFRASTRUCTURE] * 2


@pytest.mark.parametrize("failure", [TOO_SMALL, FULL])
def test_a_pod_that_was_too_small_twice_is_not_tried_a_third_time(failure: Exception) -> None:
    """An agent may have gone astray once; other failures between do not count."""
    cause = type(failure).__name__
    first = decide(Facts(2, 5, failures=[failure], earlier_causes=["ExecError"]), RetryConfig())
    assert first == Retry(10.0, cause, str(failure))
    second = decide(Facts(3, 5, failures=[failure], earlier_causes=[cause, "ExecError"]), RetryConfig())
    assert second == DeadLetter(cause, str(failure))


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([EXEC, EVICTED], Retry(5.0, "EvictedError", "patched", Charge.DISRUPTION)),
        ([EXEC, TOO_SMALL, EVICTED], Retry(5.0, "OutOfMemoryError", "too small")),
        ([NO_ROOM, NO_IMAGE], DeadLetter("PermanentError", "there is no such image")),
    ],
)
def test_what_became_of_the_pod_explains_the_rest(failures: list[Exception], expected: Outcome) -> None:
    """A stream that is cut because its pod is evicted is no failure of its own."""
    assert decide(Facts(1, 3, failures=failures), RetryConfig()) == expected


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
