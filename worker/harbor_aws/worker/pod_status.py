"""What a pod's object says about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]

HOPELESS_REASONS = {"InvalidImageName", "ErrImageNeverPull"}
"""Reasons of waiting that time does not change."""

DOUBTFUL_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}
"""Reasons of waiting that may pass (a throttled registry), and mostly do not."""


class Reason(NamedTuple):
    """Kubernetes' own word for what is the matter, and its explanation."""

    word: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.word}: {self.message}" if self.message else self.word


@dataclass(frozen=True, slots=True)
class PodEnd:
    """A pod that ran and does not any more."""

    reason: Reason
    gone: bool
    """It was deleted, or is being; otherwise its container ended and the pod is still there to be read."""


def is_running(pod: Json) -> bool:
    """Whether commands can be run."""
    state = _container_state(pod)
    return pod.get("status", {}).get("phase") == "Running" and "running" in state


def end_of(pod: Json) -> PodEnd | None:
    """Why the pod is over, or ``None`` if it is not."""
    status = pod.get("status", {})
    terminated = _container_state(pod).get("terminated")
    if status.get("phase") in ("Failed", "Succeeded") or terminated:
        return PodEnd(reason=_end_reason(status, terminated or {}), gone=False)
    if pod["metadata"].get("deletionTimestamp"):
        return PodEnd(reason=Reason("Deleted", "somebody deleted it"), gone=True)
    return _restarted(pod)


def waiting_reason(pod: Json) -> Reason | None:
    """Why the container does not run yet, or ``None`` if nothing is known to hold it up."""
    waiting = _container_state(pod).get("waiting")
    if waiting and waiting.get("reason"):
        return Reason(waiting["reason"], waiting.get("message", ""))
    return scheduling_reason(pod)


def scheduling_reason(pod: Json) -> Reason | None:
    """Why the scheduler has no node for it, or ``None`` if it has one, or says nothing."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Reason(condition.get("reason", "Unschedulable"), condition.get("message", ""))
    return None


def last_container_state(pod: Json) -> Json:
    """The container's state; of one that was restarted, the state in which it ended before."""
    status = _container_status(pod)
    before: Json = (status.get("lastState") or {}) if status.get("restartCount") else {}
    return before or _container_state(pod)


def _restarted(pod: Json) -> PodEnd | None:
    """A container that runs again is another one: what ran in it and what it had written is gone."""
    status = _container_status(pod)
    if not status.get("restartCount"):
        return None
    last = (status.get("lastState") or {}).get("terminated") or {}
    why = _end_reason({}, last)
    return PodEnd(reason=Reason("Restarted", f"its container ended before ({why})"), gone=False)


def _end_reason(status: Json, terminated: Json) -> Reason:
    """The pod's own reason (``Evicted``, ``DeadlineExceeded``) before the container's (``OOMKilled``, ``Error``)."""
    if status.get("reason"):
        return Reason(status["reason"], status.get("message", ""))
    code = terminated.get("exitCode")
    message = terminated.get("message") or (f"exit code {code}" if code is not None else "")
    return Reason(terminated.get("reason") or status.get("phase", "Unknown"), message)


def _container_state(pod: Json) -> Json:
    state: Json = _container_status(pod).get("state") or {}
    return state


def _container_status(pod: Json) -> Json:
    statuses: list[Json] = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]
