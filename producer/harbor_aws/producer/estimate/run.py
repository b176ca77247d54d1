"""How a trial went that has a result. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from harbor_aws.producer.estimate.alike import agent_of, work_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from harbor_aws.producer.planfile import PlannedTrial
    from harbor_aws.producer.state import CommittedResult
    from harbor_aws.producer.usage import PodUsage

_TIMED_OUT = "AgentTimeoutError"
"""The exception of an agent that used all its time: others will too."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a trial took, from its beginning to its end."""

    job: str
    trial: str
    task: str
    bundle: str
    """Digest of the task's files."""
    agent: str
    """As :func:`~harbor_aws.producer.estimate.alike.agent_of` has it."""
    work: str
    """As :func:`~harbor_aws.producer.estimate.alike.work_of` has it."""
    agent_seconds: float
    """How long its agent's pod was billed."""
    verifier_seconds: float
    """And those of separate verifiers, all together."""
    start_seconds: float
    """What of both passed before commands ran in them."""
    is_whole: bool = True
    """Whether the agent came to its end and was verified, so that what its pods used is what the task needs."""
    pods: tuple[PodUsage, ...] = ()
    """Empty if an older version wrote the result, which did not know."""

    @property
    def seconds(self) -> float:
        return self.agent_seconds + self.verifier_seconds


def run_of(job: str, trial: PlannedTrial, committed: CommittedResult) -> Run | None:
    """How a trial went; ``None`` if its result does not say how long one takes that does not fail.

    An agent that has no key, or whose image lacks something, is done in seconds: that is no run of the task.
    """
    is_whole = _is_whole(trial, committed)
    times = _times(committed)
    if times is None or not (is_whole or committed.exception_type == _TIMED_OUT):
        return None
    return Run(
        job=job,
        trial=trial.trial,
        task=trial.task,
        bundle=trial.bundle,
        agent=agent_of(trial.trial_config),
        work=work_of(trial.trial_config),
        agent_seconds=times[0],
        verifier_seconds=times[1],
        start_seconds=times[2],
        is_whole=is_whole,
        pods=tuple(committed.pods),
    )


def _is_whole(trial: PlannedTrial, committed: CommittedResult) -> bool:
    config = trial.trial_config
    is_verified = not (config.get("install_only") or (config.get("verifier") or {}).get("disable"))
    return committed.exception_type is None and bool(committed.rewards or not is_verified)


def _times(committed: CommittedResult) -> tuple[float, float, float] | None:
    """Seconds of the agent's pod, of separate verifiers', and of their starts."""
    pods = [pod for pod in committed.pods if pod.billed_from is not None and pod.ended_at is not None]
    if not pods:
        return _harbors_times(committed.result)
    return _pod_seconds(pods, "agent"), _pod_seconds(pods, "verifier"), sum(map(_start_seconds, pods))


def _pod_seconds(pods: Iterable[PodUsage], role: str) -> float:
    return sum(
        (pod.ended_at - pod.billed_from).total_seconds()
        for pod in pods
        if pod.role == role and pod.ended_at is not None and pod.billed_from is not None
    )


def _start_seconds(pod: PodUsage) -> float:
    if pod.billed_from is None or pod.running_at is None:
        return 0.0
    return max(0.0, (pod.running_at - pod.billed_from).total_seconds())


def _harbors_times(result: dict[str, Any]) -> tuple[float, float, float] | None:
    """The same as far as Harbor's own times say."""
    whole = _between(result)
    if whole is None:
        return None
    separate = result.get("verifier_environment_mode") == "separate"
    verifier = (_between(result.get("verifier") or {}) or 0.0) if separate else 0.0
    return whole - verifier, verifier, min(whole, _between(result.get("environment_setup") or {}) or 0.0)


def _between(timing: dict[str, Any]) -> float | None:
    began, ended = timing.get("started_at"), timing.get("finished_at")
    if not began or not ended:
        return None
    return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds())
