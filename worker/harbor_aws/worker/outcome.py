"""What becomes of an attempt: a result, another attempt, or a dead letter. Pure: facts in, decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor.models.job.config import RetryConfig

from harbor_aws.infra.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_BACKOFF_SECONDS = 5.0
LONGEST_BACKOFF_SECONDS = 300.0

AGENT_OUTCOMES = frozenset(
    {
        *(RetryConfig().exclude_exceptions or ()),
        "AddTestsDirError",
        "ApiProviderResourceNotFoundError",
        "ContextLengthExceededError",
        "ContextWindowExceededError",
        "DownloadVerifierDirError",
        "NonZeroAgentExitCodeError",
        "OutputLengthExceededError",
        "OutputTokenExceededError",
    }
)
"""Exceptions that are the agent's, the model's or the verifier's own doing once the agent has begun, and so part of a
result: Harbor's never-retried ones, a bad exit, the limits of a model, and what the agent left of the pod's files (a
transfer that failed for another reason is among the attempt's failures). A provider that is away, overloaded or
limits the rate is none of them, nor is anything that is not named here."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The agent or the verifier said something: that is the trial's result."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt, after ``delay_seconds``."""

    delay_seconds: float
    cause: str
    reason: str
    charged_to_agent: bool = False
    """Whether it uses up one of ``--max-retries`` rather than of the infrastructure's budget."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """No more attempts: the message goes to the dead-letter queue with its reason."""

    cause: str
    """The class of the exception that decided it."""
    reason: str


Outcome = Commit | Retry | DeadLetter


@dataclass(frozen=True, slots=True)
class Recorded:
    """An exception that Harbor recorded, of the trial or of one of its steps."""

    type: str
    """Name of its class."""
    message: str
    agent_began: bool
    """Whether the agent had been started: before that, nothing is its doing."""

    @property
    def is_outcome(self) -> bool:
        return self.agent_began and self.type in AGENT_OUTCOMES


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the end of an attempt."""

    attempt: int
    """Counted from 1, whoever caused the ones before."""
    attempts: int
    """The budget for failures of the infrastructure."""
    agent_retries: int = 0
    """How many of the attempts before were the agent's doing, and tried again by ``--max-retries``."""
    failures: Sequence[Exception] = ()
    """Infrastructure failures that the attempt's environments saw, or what kept the trial from being run."""
    recorded: Sequence[Recorded] = ()
    """Exceptions in Harbor's result."""

    @property
    def budget_is_spent(self) -> bool:
        return self.attempt - self.agent_retries >= self.attempts


def decide(facts: Facts, retry: RetryConfig) -> Outcome:
    """The ending of an attempt.

    An infrastructure failure outweighs whatever Harbor made of it: a verifier that ran in a dying pod leaves a
    missing reward file, which looks like the agent's doing and is not. So does a step that failed for no reason of
    the agent's, whatever the other steps were worth.
    """
    if facts.failures:
        return _after_failures(facts)
    unexplained = next((each for each in facts.recorded if not each.is_outcome), None)
    if unexplained is not None and not facts.budget_is_spent:
        return Retry(_backoff(facts), unexplained.type, unexplained.message)
    decisive = unexplained or next(iter(facts.recorded), None)
    if decisive is None:
        return Commit()
    if facts.agent_retries < retry.max_retries and _is_retried(retry, decisive.type):
        return Retry(_harbors_delay(facts, retry), decisive.type, decisive.message, charged_to_agent=True)
    return DeadLetter(decisive.type, decisive.message) if unexplained else Commit()


def backoff_seconds(attempt: int) -> float:
    """Doubles with each attempt, up to five minutes."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)


def _after_failures(facts: Facts) -> Outcome:
    decisive = next((failure for failure in facts.failures if isinstance(failure, PermanentError)), facts.failures[0])
    cause, reason = type(decisive).__name__, str(decisive)
    if isinstance(decisive, PermanentError) or facts.budget_is_spent:
        return DeadLetter(cause, reason)
    return Retry(_backoff(facts), cause, reason)


def _backoff(facts: Facts) -> float:
    return backoff_seconds(facts.attempt - facts.agent_retries)


def _harbors_delay(facts: Facts, retry: RetryConfig) -> float:
    return float(min(retry.min_wait_sec * retry.wait_multiplier**facts.agent_retries, retry.max_wait_sec))


def _is_retried(retry: RetryConfig, exception_type: str) -> bool:
    """Harbor's own rule: exclusion first, then inclusion; both by exact class name."""
    if exception_type in (retry.exclude_exceptions or ()):
        return False
    return retry.include_exceptions is None or exception_type in retry.include_exceptions
