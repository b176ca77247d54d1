"""Which events a kubelet records when a pod's status changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FAILED_WAITING = {
    "ErrImagePull": "Failed",
    "ErrImageNeverPull": "ErrImageNeverPull",
    "InvalidImageName": "InspectFailed",
    "ImagePullBackOff": "BackOff",
    "CrashLoopBackOff": "BackOff",
    "CreateContainerConfigError": "Failed",
    "CreateContainerError": "Failed",
    "RunContainerError": "Failed",
}


@dataclass(frozen=True, slots=True)
class PodEvent:
    """An event about one container of a pod."""

    reason: str
    message: str
    container: str
    warning: bool = False


def pod_events(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[PodEvent]:
    """The events between two statuses of a pod, in order."""
    for field in ("initContainerStatuses", "containerStatuses"):
        before = {one["name"]: one for one in old.get(field) or ()}
        for status in new.get(field) or ():
            yield from _container_events(before.get(status["name"], {}), status)


def _container_events(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[PodEvent]:
    name, image = new["name"], new.get("image", "")
    was, now = old.get("state") or {}, new.get("state") or {}
    waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
    started = (now.get("running") or now.get("terminated") or {}).get("startedAt")
    if started and started != _started(was) and ended.get("reason") != "StartError":
        yield PodEvent("Pulled", f'Container image "{image}" already present on machine', name)
        yield PodEvent("Created", f"Created container: {name}", name)
        yield PodEvent("Started", f"Started container {name}", name)
    reason = waiting.get("reason")
    if reason in _FAILED_WAITING and reason != (was.get("waiting") or {}).get("reason"):
        yield PodEvent(_FAILED_WAITING[reason], waiting.get("message") or f"Error: {reason}", name, warning=True)
    if ended.get("reason") in {"OOMKilled", "ContainerCannotRun", "StartError"} and not was.get("terminated"):
        message = ended.get("message") or f"Container {name} ended with exit code {ended.get('exitCode')}"
        yield PodEvent(ended["reason"] if ended["reason"] == "OOMKilled" else "Failed", message, name, warning=True)


def _started(state: Mapping[str, Any]) -> str | None:
    started: str | None = (state.get("running") or state.get("terminated") or {}).get("startedAt")
    return started
