"""A pod's state in a word, as ``kubectl get pods`` shows it. Pure but for the clock."""

from __future__ import annotations

from typing import Any

from harbor_aws.infra.local.kubernetes.objects.durations import age

Object = dict[str, Any]


def pod_status(pod: Object) -> str:
    """The ``STATUS`` column: the phase, or the reason of the container that says most."""
    status = pod["status"]
    reason = status.get("reason") or status.get("phase", "Unknown")
    initializing = False
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        word = _init_reason(container, index, len(pod["spec"].get("initContainers") or ()))
        if word:
            reason, initializing = word, True
            break
    if not initializing and not status.get("reason"):
        for container in reversed(status.get("containerStatuses") or ()):
            reason = _container_reason(container) or reason
        if reason == "Completed" and any(one.get("ready") for one in status.get("containerStatuses") or ()):
            reason = "Running" if _ready(status) else "NotReady"
    return "Terminating" if "deletionTimestamp" in pod["metadata"] else reason


def ready_containers(pod: Object) -> tuple[int, int]:
    """Containers that are ready, and containers."""
    statuses = pod["status"].get("containerStatuses") or ()
    running = [one for one in statuses if one.get("ready") and "running" in (one.get("state") or {})]
    return len(running), len(pod["spec"]["containers"])


def restarts(pod: Object) -> str:
    """The number of restarts, and when the last one was."""
    statuses = pod["status"].get("containerStatuses") or ()
    count = sum(one.get("restartCount", 0) for one in statuses)
    ended = [((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for one in statuses]
    last = max(filter(None, ended), default=None)
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _init_reason(container: Object, index: int, total: int) -> str | None:
    state = container.get("state") or {}
    ended, waiting = state.get("terminated"), state.get("waiting") or {}
    if ended is not None:
        return None if ended.get("exitCode") == 0 else f"Init:{_ended_reason(ended)}"
    if waiting.get("reason") not in {None, "", "PodInitializing"}:
        return f"Init:{waiting['reason']}"
    return f"Init:{index}/{total}"


def _container_reason(container: Object) -> str | None:
    state = container.get("state") or {}
    if (waiting := state.get("waiting") or {}).get("reason"):
        return str(waiting["reason"])
    return _ended_reason(state["terminated"]) if state.get("terminated") else None


def _ended_reason(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode')}"


def _ready(status: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
