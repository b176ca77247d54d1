"""What becomes of an attempt: a result, another attempt, or a dead letter. Pure: facts in, decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor.agents.installed.base import NonZeroAgentExitCodeError
from harbor.models.job.config import RetryConfig

from harbor_aws.infra.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRST_BACKOFF_SECONDS = 5.0
LONGEST_BACKOFF_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Commit:
    """The agent or the verifier said something: that is the trial's result."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt, after ``delay_seconds``."""

    delay_seconds: float
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """No more attempts: the message goes to the dead-letter queue with its reason."""

    cause: str
    """The class of the exception that decided it."""
    reason: str


Outcome = Commit | Retry | DeadLetter


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the end of an attempt."""

    attempt: int
    """Counted from 1."""
    attempts: int
    """The budget for failures of the infrastructure."""
    failures: Sequence[Exception] = ()
    """Infrastructure failures that the attempt's environments saw, or what kept the trial from being made."""
    exception_type: str | None = None
    """The class name of the exception in Harbor's result; ``None`` if there is none."""
    exception_message: str = ""


def decide(facts: Facts, retry: RetryConfig) -> Outcome:
    """The ending of an attempt.

    An infrastructure failure outweighs whatever Harbor made of it: a verifier that ran in a dying pod leaves a
    missing reward file, which looks like the agent's doing and is not.
    """
    if facts.failures:
        return _after_failures(facts)
    if facts.exception_type is None:
        return Commit()
    if facts.exception_type in AGENT_OUTCOMES:
        wanted = facts.attempt <= retry.max_retries and _names(retry, facts.exception_type)
        return _retry_as_harbor_does(facts, retry) if wanted else Commit()
    if facts.attempt < facts.attempts or (facts.attempt <= retry.max_retries and _names(retry, facts.exception_type)):
        return Retry(backoff_seconds(facts.attempt), facts.exception_type, facts.exception_message)
    return DeadLetter(facts.exception_type, facts.exception_message)


def backoff_seconds(attempt: int) -> float:
    """Doubles with each attempt, up to five minutes."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)


def _after_failures(facts: Facts) -> Outcome:
    decisive = next((failure for failure in facts.failures if isinstance(failure, PermanentError)), facts.failures[0])
    cause, reason = type(decisive).__name__, str(decisive)
    if isinstance(decisive, PermanentError) or facts.attempt >= facts.attempts:
        return DeadLetter(cause, reason)
    return Retry(backoff_seconds(facts.attempt), cause, reason)


def _retry_as_harbor_does(facts: Facts, retry: RetryConfig) -> Retry:
    assert facts.exception_type is not None  # noqa: S101 - the caller's case, said for the type checker
    delay = float(min(retry.min_wait_sec * retry.wait_multiplier ** (facts.attempt - 1), retry.max_wait_sec))
    return Retry(delay, facts.exception_type, facts.exception_message)


def _names(retry: RetryConfig, exception_type: str) -> bool:
    """Harbor's own rule: exclusion first, then inclusion; both by exact class name."""
    if exception_type in (retry.exclude_exceptions or ()):
        return False
    return retry.include_exceptions is None or exception_type in retry.include_exceptions


def _class_and_subclasses(cls: type[Exception]) -> Iterator[str]:
    yield cls.__name__
    for subclass in cls.__subclasses__():
        yield from _class_and_subclasses(subclass)


AGENT_OUTCOMES = frozenset(
    {
        *(RetryConfig().exclude_exceptions or ()),
        *_class_and_subclasses(NonZeroAgentExitCodeError),
        "ContextLengthExceededError",
        "OutputLengthExceededError",
    }
)
"""Exceptions that are the agent's, the model's or the verifier's own doing, and so part of a result.

Harbor's never-retried ones, whatever its installed agents raise when they exit badly, and the limits of a model.
Every other exception that Harbor records counts as a failure of the infrastructure."""
