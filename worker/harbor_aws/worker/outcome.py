"""What becomes of an attempt: a result, another attempt, or a dead letter. Pure: facts in, decision out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from harbor.models.job.config import RetryConfig

from harbor_aws.infra.errors import (
    CapacityError,
    EvictedError,
    LimitExceededError,
    NoNodeError,
    PermanentError,
    PodError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_BACKOFF_SECONDS = 5.0
LONGEST_BACKOFF_SECONDS = 300.0

FIRST_WAIT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 900.0
"""Of a trial that waits for capacity: twice as long each time, up to SQS's longest delay of a message.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

WAIT_SPREAD = 0.25
"""Waits are shorter by up to so much of them, so that trials that were refused together do not come back together."""

MOST_REFUSALS = 100
"""After so many one after the other a trial that waits for capacity is a dead letter: about a day. They are counted
because clocks of workers differ, and a trial's refusals are seen by many of them."""

FREE_DISRUPTIONS = 5
"""Pods of a trial that may be evicted, or be given no node, before each further one costs an attempt. Fargate patches
what it runs on every few weeks or months, so more says that something else is wrong:
https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-patching.html"""

LIMITS_EXCEEDED = 2
"""Attempts of a trial that may end out of memory or storage. An agent may have gone astray once, so there is a second;
when that ends so too, on as much, then the pod is too small, and a third would cost a whole run to learn no more."""

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


class Charge(Enum):
    """Who pays for an attempt that came to nothing."""

    INFRASTRUCTURE = auto()
    """One of ``--attempts``."""
    AGENT = auto()
    """One of ``--max-retries``."""
    WAIT = auto()
    """Nobody: there was no room for the trial, which had not begun. Bounded by :data:`MOST_REFUSALS`."""
    DISRUPTION = auto()
    """Nobody, so far: one of :data:`FREE_DISRUPTIONS`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt, after ``delay_seconds``."""

    delay_seconds: float
    cause: str
    reason: str
    charge: Charge = Charge.INFRASTRUCTURE


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
    waits: int = 0
    """How many of them found no room."""
    disruptions: int = 0
    """How many of them were nobody's fault otherwise, and cost nothing."""
    refusals: int = 0
    """How many of the last ones, one after the other, found no room."""
    has_begun: bool = False
    """Whether this attempt has come to a further pod, so that another attempt does again what was done."""
    earlier_causes: Sequence[str] = ()
    """What ended the attempts before, as far as that is known."""
    chance: float = 0.0
    """From 0 to 1, for :data:`WAIT_SPREAD`."""
    failures: Sequence[Exception] = ()
    """Infrastructure failures that the attempt's environments saw, or what kept the trial from being run."""
    recorded: Sequence[Recorded] = ()
    """Exceptions in Harbor's result."""

    @property
    def charged(self) -> int:
        """Attempts that the infrastructure's budget pays for, this one included."""
        return self.attempt - self.agent_retries - self.waits - self.disruptions

    @property
    def budget_is_spent(self) -> bool:
        return self.charged >= self.attempts


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
        return Retry(_harbors_delay(facts, retry), decisive.type, decisive.message, Charge.AGENT)
    return DeadLetter(decisive.type, decisive.message) if unexplained else Commit()


def backoff_seconds(attempt: int) -> float:
    """Doubles with each attempt, up to five minutes."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)


def wait_seconds(refusals: int, *, chance: float) -> float:
    """How long a trial waits in the queue that was refused for want of room so often before."""
    longest = min(FIRST_WAIT_SECONDS * 2.0 ** min(refusals, MOST_REFUSALS), LONGEST_WAIT_SECONDS)
    return longest * (1 - WAIT_SPREAD * chance)


def _after_failures(facts: Facts) -> Outcome:
    decisive = _decisive(facts.failures)
    cause, reason = type(decisive).__name__, str(decisive)
    if isinstance(decisive, PermanentError):
        return DeadLetter(cause, reason)
    if isinstance(decisive, CapacityError) and not facts.has_begun:
        return _after_refusal(facts, cause, reason)
    if _is_nobodys(decisive) and facts.disruptions < FREE_DISRUPTIONS:
        return Retry(backoff_seconds(1 + facts.disruptions), cause, reason, Charge.DISRUPTION)
    if facts.budget_is_spent or _is_hopeless(decisive, facts):
        return DeadLetter(cause, reason)
    return Retry(_backoff(facts), cause, reason)


def _decisive(failures: Sequence[Exception]) -> Exception:
    """What cannot be mended, else what became of a pod, which explains what else went wrong, else the first."""
    for kind in (PermanentError, PodError):
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    return failures[0]


def _after_refusal(facts: Facts, cause: str, reason: str) -> Outcome:
    if facts.refusals + 1 >= MOST_REFUSALS:
        return DeadLetter(cause, f"The trial was refused {facts.refusals + 1} times, for about a day. {reason}")
    return Retry(wait_seconds(facts.refusals, chance=facts.chance), cause, reason, Charge.WAIT)


def _is_nobodys(failure: Exception) -> bool:
    """A capacity failure that costs what was done is one of a few: for as long as others it would cost many times."""
    return isinstance(failure, EvictedError | NoNodeError | CapacityError)


def _is_hopeless(failure: Exception, facts: Facts) -> bool:
    if not isinstance(failure, LimitExceededError):
        return False
    return 1 + facts.earlier_causes.count(type(failure).__name__) >= LIMITS_EXCEEDED


def _backoff(facts: Facts) -> float:
    return backoff_seconds(max(1, facts.charged))


def _harbors_delay(facts: Facts, retry: RetryConfig) -> float:
    return float(min(retry.min_wait_sec * retry.wait_multiplier**facts.agent_retries, retry.max_wait_sec))


def _is_retried(retry: RetryConfig, exception_type: str) -> bool:
    """Harbor's own rule: exclusion first, then inclusion; both by exact class name."""
    if exception_type in (retry.exclude_exceptions or ()):
        return False
    return retry.include_exceptions is None or exception_type in retry.include_exceptions
