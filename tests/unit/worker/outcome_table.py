"""The table of docs/failures.md, made from what :func:`harbor_aws.worker.outcome.decide` decides.

``python -m tests.unit.worker.outcome_table`` writes it anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harbor.agents.installed.base import ApiRateLimitError, NonZeroAgentExitCodeError
from harbor.models.job.config import RetryConfig
from harbor.trial.errors import (
    AgentSetupTimeoutError,
    AgentTimeoutError,
    EnvironmentStartTimeoutError,
    VerifierTimeoutError,
)
from harbor.verifier.verifier import RewardFileNotFoundError, VerifierOutputParseError

from harbor_aws.infra.errors import (
    CapacityError,
    EvictedError,
    ImageMissingError,
    ImageNameError,
    ImagePullError,
    ImageRefusedError,
    ImageTooLargeError,
    NoNodeError,
    NotPlaceableError,
    OutOfMemoryError,
    PermanentError,
    PodDeadlineError,
    PodError,
    PodGoneError,
    PodStartError,
    PullRateError,
    RegistryError,
    StorageExceededError,
    TransferError,
    TransientError,
    WrongArchitectureError,
)
from harbor_aws.infra.objects import ObjectMissingError
from harbor_aws.producer.bundle import BundleError
from harbor_aws.worker.evidence import TimeLostError
from harbor_aws.worker.exec.stream import StreamCutError
from harbor_aws.worker.making import TrialNotMadeError
from harbor_aws.worker.network_probe import NetworkNotIsolatedError, NetworkUnclearError
from harbor_aws.worker.outcome import (
    FREE_DISRUPTIONS,
    LIMITS_EXCEEDED,
    MOST_REFUSALS,
    Charge,
    Commit,
    DeadLetter,
    Facts,
    Outcome,
    Recorded,
    Retry,
    decide,
)
from harbor_aws.worker.transfer.threads import LocalFileError
from harbor_aws.worker.trial import TrialTooLongError, UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[3] / "docs" / "failures.md"
BEGIN = "<!-- begin: python -m tests.unit.worker.outcome_table -->"
END = "<!-- end -->"

ATTEMPTS = 3
"""The infrastructure's budget, ``--attempts``."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row: one thing that goes wrong, at the first attempt and when there is no other."""

    what: str
    cause: str
    """Name of the exception that decides."""
    first: Facts
    last: Facts
    retry: RetryConfig


def of_infrastructure(what: str, *errors: Exception, recorded: type[Exception] | None = None) -> Failure:
    """Something that the worker or its pods saw; ``recorded`` is what Harbor made of it."""
    seen = [_recorded(recorded)] if recorded else []
    return Failure(
        what,
        type(errors[-1]).__name__,
        first=Facts(1, ATTEMPTS, failures=errors, recorded=seen),
        last=Facts(ATTEMPTS, ATTEMPTS, failures=errors, recorded=seen),
        retry=RetryConfig(),
    )


def waiting(what: str, error: CapacityError) -> Failure:
    """No room for a trial that has not begun: its budget is how often it may be refused."""
    first = Facts(1, ATTEMPTS, failures=[error])
    last = replace(first, attempt=MOST_REFUSALS, waits=MOST_REFUSALS - 1, refusals=MOST_REFUSALS - 1)
    return Failure(what, type(error).__name__, first=first, last=last, retry=RetryConfig())


def disrupted(what: str, error: PodError, *, has_begun: bool = False) -> Failure:
    """What costs nothing a few times, and then as much as anything else."""
    first = Facts(1, ATTEMPTS, failures=[error], has_begun=has_begun)
    last = replace(first, attempt=FREE_DISRUPTIONS + ATTEMPTS, disruptions=FREE_DISRUPTIONS)
    return Failure(what, type(error).__name__, first=first, last=last, retry=RetryConfig())


def beyond_a_limit(what: str, error: PodError, *, recorded: type[Exception] | None = None) -> Failure:
    """What is likely to happen again, and is not tried as often as other failures."""
    failure = of_infrastructure(what, error, recorded=recorded)
    before = [type(error).__name__] * (LIMITS_EXCEEDED - 1)
    return replace(failure, last=replace(failure.first, attempt=LIMITS_EXCEEDED, earlier_causes=before))


def recorded_by_harbor(what: str, kind: type[Exception], *, agent_began: bool = True) -> Failure:
    """Something that Harbor recorded in a trial in which no failure of the infrastructure was seen."""
    recorded = [_recorded(kind, agent_began=agent_began)]
    return Failure(
        what,
        kind.__name__,
        first=Facts(1, ATTEMPTS, recorded=recorded),
        last=Facts(ATTEMPTS, ATTEMPTS, recorded=recorded),
        retry=RetryConfig(),
    )


def with_max_retries(what: str, kind: type[Exception], retry: RetryConfig) -> Failure:
    """The agent's doing with ``--max-retries``, which is the budget that the last column has spent."""
    recorded, spent = [_recorded(kind)], retry.max_retries
    return Failure(
        what,
        kind.__name__,
        first=Facts(1, ATTEMPTS, recorded=recorded),
        last=Facts(1 + spent, ATTEMPTS, spent, recorded=recorded),
        retry=retry,
    )


def _recorded(kind: type[Exception], *, agent_began: bool = True) -> Recorded:
    return Recorded(kind.__name__, "", agent_began=agent_began)


def _pod[E: PodError](kind: type[E], reason: str) -> E:
    return kind(reason, pod="p", reason=reason)


GONE = _pod(PodGoneError, "Deleted")
OUT_OF_MEMORY = _pod(OutOfMemoryError, "OOMKilled")
NO_ROOM = _pod(CapacityError, "Unschedulable")
TWICE = RetryConfig(max_retries=2)

FAILURES = (
    of_infrastructure("the pod is deleted", GONE),
    disrupted("the cluster takes the pod away, as Fargate does to patch", _pod(EvictedError, "EvictionByEvictionAPI")),
    of_infrastructure("the pod's `activeDeadlineSeconds` end", _pod(PodDeadlineError, "DeadlineExceeded")),
    beyond_a_limit("the container is out of memory (`OOMKilled`): two attempts in all", OUT_OF_MEMORY),
    beyond_a_limit(
        "the same while the verifier runs, which then leaves no reward file",
        OUT_OF_MEMORY,
        recorded=RewardFileNotFoundError,
    ),
    beyond_a_limit("the pod's storage is used up: two attempts in all", _pod(StorageExceededError, "Evicted")),
    of_infrastructure("the image cannot be pulled, and nobody knows why", _pod(ImagePullError, "ImagePullBackOff")),
    of_infrastructure("the image's registry does not answer", _pod(RegistryError, "ErrImagePull")),
    waiting("the image's registry allows no more pulls for now", _pod(PullRateError, "ErrImagePull")),
    of_infrastructure("the image is not in its registry, or was not built", _pod(ImageMissingError, "ErrImagePull")),
    of_infrastructure("the image is private, or not in its registry", _pod(ImageRefusedError, "ErrImagePull")),
    of_infrastructure("the image is not for linux/amd64", _pod(WrongArchitectureError, "ErrImagePull")),
    of_infrastructure("the image does not fit into the pod's storage", _pod(ImageTooLargeError, "ErrImagePull")),
    of_infrastructure("the image's name is none", _pod(ImageNameError, "InvalidImageName")),
    of_infrastructure("a pod that is to have no network may have one", NetworkNotIsolatedError("reached")),
    of_infrastructure("a pod is too slow to tell whether it has none", NetworkUnclearError("", pod="p")),
    waiting("no room: the account's vCPUs, the stack's (its quota), or Fargate's own", NO_ROOM),
    disrupted("the same for a further pod, after the agent has run", NO_ROOM, has_begun=True),
    disrupted("no node for the pod in time, and nobody says why", _pod(NoNodeError, "Pending")),
    of_infrastructure("no node, for a reason that the scheduler gives", _pod(PodStartError, "Unschedulable")),
    of_infrastructure("Fargate never runs such a pod", _pod(NotPlaceableError, "UNSUPPORTED")),
    of_infrastructure("the image cannot be built", PermanentError("")),
    of_infrastructure("the cluster refuses the pod as it is", PermanentError("")),
    of_infrastructure("the API server does not answer", TransientError("")),
    of_infrastructure("a command's stream is cut, and cannot be taken up again for five minutes", StreamCutError("")),
    of_infrastructure("files do not arrive whole, for five minutes", TransferError("")),
    recorded_by_harbor("Harbor's own time-out for the start, no failure seen", EnvironmentStartTimeoutError),
    recorded_by_harbor("the agent cannot be installed in time", AgentSetupTimeoutError, agent_began=False),
    recorded_by_harbor("the agent's installation fails", NonZeroAgentExitCodeError, agent_began=False),
    recorded_by_harbor("the model's provider limits the rate", ApiRateLimitError),
    of_infrastructure("S3 does not give the task's bundle", TransientError("")),
    of_infrastructure("S3 refuses the bundle", PermanentError("")),
    of_infrastructure("the bundle is missing", ObjectMissingError("")),
    of_infrastructure("the bundle has the wrong digest, or holds what must not be unpacked", BundleError("")),
    of_infrastructure("Harbor refuses the task, the agent or the configuration", TrialNotMadeError("")),
    of_infrastructure("the worker's disk is full while files come from the pod", LocalFileError("")),
    of_infrastructure("the worker's disk is full otherwise, or nobody foresaw it", UnexpectedError("")),
    of_infrastructure("the attempt takes longer than a message may stay hidden", TrialTooLongError("")),
    of_infrastructure("two failures, one of which is permanent", GONE, BundleError("")),
    recorded_by_harbor("the agent exits with another code than 0", NonZeroAgentExitCodeError),
    recorded_by_harbor("the agent runs out of time", AgentTimeoutError),
    recorded_by_harbor("the verifier runs out of time", VerifierTimeoutError),
    of_infrastructure("either does, and outages took a twentieth of its time or more", TimeLostError("")),
    recorded_by_harbor("the verifier leaves no reward file", RewardFileNotFoundError),
    recorded_by_harbor("the verifier's rewards make no sense", VerifierOutputParseError),
    with_max_retries("the agent exits with another code than 0, `--max-retries 2`", NonZeroAgentExitCodeError, TWICE),
    with_max_retries(
        "the same, and `--retry-include AgentTimeoutError`",
        NonZeroAgentExitCodeError,
        RetryConfig(max_retries=2, include_exceptions={AgentTimeoutError.__name__}),
    ),
    with_max_retries(
        "the same, and `--retry-exclude NonZeroAgentExitCodeError`",
        NonZeroAgentExitCodeError,
        RetryConfig(max_retries=2, exclude_exceptions={NonZeroAgentExitCodeError.__name__}),
    ),
    with_max_retries("the agent runs out of time, `--max-retries 2`", AgentTimeoutError, TWICE),
    with_max_retries(
        "the same, and a `--retry-exclude` without `AgentTimeoutError`",
        AgentTimeoutError,
        RetryConfig(max_retries=2, exclude_exceptions={VerifierTimeoutError.__name__}),
    ),
)


def table() -> str:
    """The table, in Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "| what goes wrong | cause | at the first attempt | with the budget spent |"
    yield "| --- | --- | --- | --- |"
    for failure in FAILURES:
        cells = [_cell(decide(facts, failure.retry)) for facts in (failure.first, failure.last)]
        yield f"| {failure.what} | `{failure.cause}` | {cells[0]} | {cells[1]} |"


def _cell(outcome: Outcome) -> str:
    match outcome:
        case Commit():
            return "a result"
        case Retry():
            free = ", not charged" if outcome.charge in (Charge.WAIT, Charge.DISRUPTION) else ""
            return f"again after {outcome.delay_seconds:g} s{free}"
        case DeadLetter():
            return "dead letter"


def written(document: str, content: str) -> str:
    """``document`` with ``content`` between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(), table()))
