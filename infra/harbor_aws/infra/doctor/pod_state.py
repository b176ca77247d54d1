"""What a pod's own object says of why it does not run. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of a container that waits for somebody to mend something."""


def trouble(pod: Json) -> str | None:
    """Why the pod will not run by itself; ``None`` if nothing says that it will not."""
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            said = ": ".join(filter(None, (waiting["reason"], waiting.get("message"))))
            return said + _last_end(status)
    return None


def waits_for(pod: Json) -> str:
    """What a pod that is Pending waits for, as far as it says."""
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason"):
            return ": ".join(filter(None, (waiting["reason"], waiting.get("message"))))
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
    return "no reason given"


def age_seconds(pod: Json, now: datetime) -> float:
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return (now - created).total_seconds()


def is_running(pod: Json) -> bool:
    """Whether all of its containers run, and nobody has told it to go."""
    is_going = "deletionTimestamp" in pod["metadata"]
    states = [status.get("state", {}) for status in _containers(pod)]
    return (
        not is_going and pod.get("status", {}).get("phase") == "Running" and all("running" in each for each in states)
    )


def _containers(pod: Json) -> Iterator[Json]:
    yield from pod.get("status", {}).get("containerStatuses") or []


def _last_end(status: Json) -> str:
    ended = status.get("lastState", {}).get("terminated")
    if not ended:
        return ""
    return (
        f" (ended {status.get('restartCount', 0)} times, last with {ended.get('exitCode')} {ended.get('reason', '')})"
    )
