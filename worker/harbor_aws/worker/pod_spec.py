"""The manifest of a trial's pod. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from harbor_aws.infra.fargate import FargateSize, cpu_millis
from harbor_aws.infra.labels import (
    FARGATE_PROFILE_LABEL,
    ISOLATED_PROFILE,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NETWORK_LABEL,
    NO_NETWORK,
    PREFIX,
    WORKER_LABEL,
    dns_label,
    label_value,
    stack_labels,
)
from harbor_aws.worker.exec.stream import CONTAINER
from harbor_aws.worker.pod_security import ROOT, container_security, pod_security

_SIZE_ANNOTATION, _MEMORY_ANNOTATION = f"{PREFIX}size", f"{PREFIX}memory-mib"
_SIZE = re.compile(r"([0-9]{1,9})m ([0-9]{1,9})Mi ([0-9]{1,9})Gi")

GRACE_SECONDS = 2
"""``terminationGracePeriodSeconds``: the container's first process ends at once when told to."""

WAIT_COMMAND = ("sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done")
"""Only waits, reaps what is left to it, and ends at once on TERM. ``sleep infinity`` is not known everywhere."""


NO_NETWORK_LABELS = {NETWORK_LABEL: NO_NETWORK, FARGATE_PROFILE_LABEL: ISOLATED_PROFILE}
"""Of a pod without a network: by the first it gets its security group, by the second its subnets."""

NO_NAME_SERVER = {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.1"]}}
"""Of a pod without a network. There must be one, and at this one nobody listens; no security group keeps a pod from the
VPC's resolver."""


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
    has_network: bool = True
    """Whether it has the network that all have, or none, where the stack enforces that."""
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
                **({} if request.has_network else NO_NETWORK_LABELS),
                **{PREFIX + key: label_value(value) for key, value in names.items()},
            },
            "annotations": {
                **{PREFIX + key: value for key, value in names.items()},
                f"{PREFIX}session": owner.session,
                _SIZE_ANNOTATION: _size_text(request.size),
                _MEMORY_ANNOTATION: str(_memory_mib(request)),
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": request.deadline_seconds,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            **({} if request.has_network else NO_NAME_SERVER),
            **pod_security(request.user),
            "containers": [
                {
                    "name": CONTAINER,
                    "image": request.image,
                    "imagePullPolicy": "IfNotPresent",
                    # A program that cannot be run is told of in the log alone.
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "command": list(WAIT_COMMAND),
                    "resources": {"requests": resources, "limits": resources},
                    **container_security(request.user),
                }
            ],
        },
    }


def asked_size(pod: dict[str, Any]) -> FargateSize | None:
    """The size that was asked for with a pod that the cluster tells of; ``None`` if it is no pod of a trial."""
    found = _SIZE.fullmatch((pod["metadata"].get("annotations") or {}).get(_SIZE_ANNOTATION, ""))
    return FargateSize(int(found[1]), int(found[2]), int(found[3])) if found else None


def memory_limit_mib(pod: dict[str, Any]) -> int | None:
    """Memory that such a pod's container may use; ``None`` if an older version made it."""
    text = (pod["metadata"].get("annotations") or {}).get(_MEMORY_ANNOTATION, "")
    return int(text) if text.isdecimal() else None


def _memory_mib(request: PodRequest) -> int:
    return request.size.container_memory_mib if request.memory_mib is None else request.memory_mib


def _size_text(size: FargateSize) -> str:
    return f"{size.cpu_millis}m {size.memory_mib}Mi {size.storage_gib}Gi"


def _resources(request: PodRequest) -> dict[str, str]:
    """Requests, which are the limits too: Fargate knows no other kind, and a benchmark is comparable only so."""
    millis = request.size.cpu_millis if request.cpus is None else cpu_millis(request.cpus)
    cpu = f"{millis}m" if millis % 1000 else str(millis // 1000)
    resources = {"cpu": cpu, "memory": f"{_memory_mib(request)}Mi"}
    if request.storage_mib is not None:
        resources["ephemeral-storage"] = f"{request.storage_mib}Mi"
    return resources
