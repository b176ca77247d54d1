"""The manifest of a trial's pod. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.labels import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PREFIX,
    WORKER_LABEL,
    dns_label,
    label_value,
    stack_labels,
)
from harbor_aws.worker.exec.stream import CONTAINER
from harbor_aws.worker.pod_security import ROOT, container_security, pod_security

if TYPE_CHECKING:
    from harbor_aws.infra.fargate import FargateSize

GRACE_SECONDS = 2
"""``terminationGracePeriodSeconds``: the container's first process ends at once when told to."""

WAIT_COMMAND = ("sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done")
"""Only waits, reaps what is left to it, and ends at once on TERM. ``sleep infinity`` is not known everywhere."""


@dataclass(frozen=True, slots=True)
class PodOwner:
    """Whose pod it is; see :class:`~harbor_aws.worker.attempt.Attempt`."""

    job: str
    trial: str
    attempt_id: str
    worker: str
    """The process that made it; its :class:`~harbor_aws.infra.presence.Presence` says whether it lives."""
    session: str
    """Harbor's session_id: one trial may have a pod for its agent and others for its verifiers."""
    stack: str | None = None
    """``None``: no stack's, so that no reaper looks after it."""

    @property
    def role(self) -> str:
        return "verifier" if "__verifier" in self.session else "agent"

    @property
    def pod_name(self) -> str:
        """Unique per attempt and environment, and the same whenever it is asked for."""
        identity = "\0".join((self.job, self.trial, self.attempt_id, self.session))
        return dns_label(self.session, identity)


def owner_selector(*, job: str, trial: str) -> str:
    """Selects all pods that any attempt at a trial made."""
    return f"{PREFIX}job={label_value(job)},{PREFIX}trial={label_value(trial)}"


def worker_selector(worker: str) -> str:
    """Selects all pods that a worker process made."""
    return f"{WORKER_LABEL}={label_value(worker)}"


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What an environment asks for."""

    owner: PodOwner
    image: str
    size: FargateSize
    deadline_seconds: int
    cpus: float | None = None
    """What the task itself says; ``None``: all of the size."""
    memory_mib: int | None = None
    """What the task itself says; ``None``: all of the size."""
    storage_mib: int | None = None
    """What the task itself says; ``None``: what every pod has."""
    user: int = ROOT
    """Of everything in the pod. Any but root makes it one that Pod Security's *restricted* admits."""


def pod_manifest(request: PodRequest) -> dict[str, Any]:
    """One container of the task's own image, with nothing of the cluster's in it."""
    owner = request.owner
    names = {"job": owner.job, "trial": owner.trial, "attempt": owner.attempt_id, "worker": owner.worker}
    resources = _resources(request)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": owner.pod_name,
            "labels": {
                MANAGED_BY_LABEL: MANAGED_BY,
                **(stack_labels(owner.stack) if owner.stack else {}),
                f"{PREFIX}role": owner.role,
                **{PREFIX + key: label_value(value) for key, value in names.items()},
            },
            "annotations": {
                **{PREFIX + key: value for key, value in names.items()},
                f"{PREFIX}session": owner.session,
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": request.deadline_seconds,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            **pod_security(request.user),
            "containers": [
                {
                    "name": CONTAINER,
                    "image": request.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(WAIT_COMMAND),
                    "resources": {"requests": resources, "limits": resources},
                    **container_security(request.user),
                }
            ],
        },
    }


def _resources(request: PodRequest) -> dict[str, str]:
    """Requests, which are the limits too: Fargate knows no other kind, and a benchmark is comparable only so."""
    cpu_millis = request.size.cpu_millis if request.cpus is None else round(request.cpus * 1000)
    memory_mib = request.size.container_memory_mib if request.memory_mib is None else request.memory_mib
    cpu = f"{cpu_millis}m" if cpu_millis % 1000 else str(cpu_millis // 1000)
    resources = {"cpu": cpu, "memory": f"{memory_mib}Mi"}
    if request.storage_mib is not None:
        resources["ephemeral-storage"] = f"{request.storage_mib}Mi"
    return resources
