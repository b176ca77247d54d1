"""A pod's status as Kubernetes reports it, from what is known of its containers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harbor_aws.infra.local.kubernetes.objects.pod_rules import NODE_ADDRESS

CONTAINER_CREATING = {"waiting": {"reason": "ContainerCreating"}}
POD_INITIALIZING = {"waiting": {"reason": "PodInitializing"}}


@dataclass(slots=True)
class ContainerState:
    """One container, as it stands."""

    name: str
    image: str
    state: dict[str, Any] = field(default_factory=lambda: CONTAINER_CREATING)
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    container_id: str = ""
    ready: bool = True
    """Whether it is ready while it runs: its readiness probe's word."""

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def terminated(self) -> dict[str, Any] | None:
        ended: dict[str, Any] | None = self.state.get("terminated")
        return ended

    def report(self) -> dict[str, Any]:
        status = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.running and self.ready,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": f"local://{self.image}" if self.container_id else "",
            "started": self.running,
        }
        return status | ({"containerID": f"local://{self.container_id}"} if self.container_id else {})


def terminated(
    *, exit_code: int, started_at: str, finished_at: str, container_id: str, out_of_memory: bool = False
) -> dict[str, Any]:
    """The state of a container that ended."""
    reason = "OOMKilled" if out_of_memory else "Completed" if exit_code == 0 else "Error"
    ended = {
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": started_at,
        "finishedAt": finished_at,
        "containerID": f"local://{container_id}",
    }
    return {"terminated": ended}


def start_error(message: str, *, finished_at: str) -> dict[str, Any]:
    """The state of a container whose program could not be executed, as containerd has it."""
    ended = {
        "exitCode": 128,
        "reason": "StartError",
        "message": message,
        "startedAt": "1970-01-01T00:00:00Z",
        "finishedAt": finished_at,
    }
    return {"terminated": ended}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod_status(
    containers: list[ContainerState],
    init_containers: list[ContainerState],
    *,
    start_time: str,
    restart_policy: str,
    changes: dict[str, tuple[str, str]],
    now: str,
) -> dict[str, Any]:
    """The whole status.

    Args:
        start_time: when the pod was taken on.
        restart_policy: the pod's ``restartPolicy``.
        changes: the last status of each condition and when it became that; updated in place.
        now: the time.
    """
    initialized = all(one.terminated and one.terminated["exitCode"] == 0 for one in init_containers)
    phase = _phase(containers, init_containers, restart_policy)
    status: dict[str, Any] = {
        "phase": phase,
        "hostIP": NODE_ADDRESS,
        "podIP": NODE_ADDRESS,
        "podIPs": [{"ip": NODE_ADDRESS}],
        "startTime": start_time,
        "conditions": _conditions(containers, phase, initialized=initialized, changes=changes, now=now),
        "containerStatuses": [one.report() for one in containers],
    }
    if init_containers:
        status["initContainerStatuses"] = [
            one.report() | {"ready": bool(one.terminated and one.terminated["exitCode"] == 0)}
            for one in init_containers
        ]
    return status


def _phase(containers: list[ContainerState], init_containers: list[ContainerState], restart_policy: str) -> str:
    if restart_policy == "Never" and any(one.terminated and one.terminated["exitCode"] for one in init_containers):
        return "Failed"
    if restart_policy != "Always" and all(one.terminated for one in containers):
        if all(one.terminated and one.terminated["exitCode"] == 0 for one in containers):
            return "Succeeded"
        if restart_policy == "Never":
            return "Failed"
    if any(one.running or one.terminated or one.last_state for one in containers):
        return "Running"
    return "Pending"


def _conditions(
    containers: list[ContainerState],
    phase: str,
    *,
    initialized: bool,
    changes: dict[str, tuple[str, str]],
    now: str,
) -> list[dict[str, Any]]:
    unready = [one.name for one in containers if not (one.running and one.ready)]
    why: dict[str, Any] = {}
    if unready:
        why = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(unready)}]"}
    if phase == "Succeeded":
        why = {"reason": "PodCompleted"}
    elif phase == "Failed":
        why = {"reason": "PodFailed"}
    facts: list[tuple[str, bool, dict[str, Any]]] = [
        ("Initialized", initialized, {} if initialized else {"reason": "ContainersNotInitialized"}),
        ("Ready", not unready, why),
        ("ContainersReady", not unready, why),
        ("PodScheduled", True, {}),
    ]
    conditions = []
    for kind, holds, reason in facts:
        status = "True" if holds else "False"
        if changes.get(kind, ("", ""))[0] != status:
            changes[kind] = (status, now)
        conditions.append(
            {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": changes[kind][1], **reason}
        )
    return conditions
