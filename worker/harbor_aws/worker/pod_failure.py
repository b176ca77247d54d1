"""Why a pod did not start, or is over, as the error that says whose doing it was. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import (
    CapacityError,
    EvictedError,
    LimitExceededError,
    NoNodeError,
    NotPlaceableError,
    OutOfMemoryError,
    PodDeadlineError,
    PodError,
    PodFailedError,
    PodGoneError,
    PodStartError,
    StorageExceededError,
)
from harbor_aws.worker.image_pull import architecture_failure, image_failure
from harbor_aws.worker.pod_status import Reason, last_container_state, waiting_reason
from harbor_aws.worker.scheduling import has_node, scheduling_hold_up, shortage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.producer.dead_letters.pod_end import PodEvent
    from harbor_aws.worker.pod_status import PodEnd

Json = dict[str, Any]


_NOT_PLACEABLE = re.compile(r"exceeds? the max fargate configuration|not supported on fargate", re.IGNORECASE)
"""aws/eks-distro-prow-jobs#11; langfuse and others quote the second for volumes that Fargate has not."""

_WILL_RETRY = re.compile(r"pod provisioning timed out", re.IGNORECASE)
"""aws/containers-roadmap#1890: Fargate tries again by itself, and mostly succeeds."""

_STORAGE = re.compile(
    r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit"
    r"|usage of emptydir volume .* exceeds|low on resource: (ephemeral-storage|nodefs|imagefs|inodes)|diskpressure",
    re.IGNORECASE,
)
_MEMORY = re.compile(r"low on resource: memory|memorypressure", re.IGNORECASE)
"""The kubelet's texts: kubernetes/pkg/kubelet/eviction/helpers.go. On Fargate a node has one pod, so a node that is low
on anything is that pod's own doing."""

_SHUTDOWN_REASONS = {"Terminated", "Shutdown", "NodeShutdown", "NodeLost", "Evicted", "Preempting"}
"""A pod's own reasons for an end that its node brought about: kubernetes/pkg/kubelet/nodeshutdown, and the kubelet's
evictions for what is neither memory nor storage."""

_NO_ROOM_ON_NODE = re.compile(r"OutOf(cpu|memory|pods|ephemeral-storage)")
"""Reasons with which a kubelet refuses a pod that was assigned to it: kubernetes/pkg/kubelet/lifecycle/predicate.go"""


def start_error(name: str, pod: Json, events: Sequence[PodEvent] = (), *, after_seconds: float) -> PodStartError:
    """The error for a pod that does not run yet, with what is known now of the reason.

    Args:
        pod: the newest object that is known of it.
    """
    scheduling = scheduling_hold_up(pod, events)
    reason = scheduling or waiting_reason(pod) or Reason("Pending", "nothing is known to hold it up")
    kind, advice = _start_kind(pod, scheduling, events)
    text = f"Pod {name} did not start within {after_seconds:.0f} s: {str(reason).rstrip('.')}."
    return kind(f"{text} {advice}".rstrip(), pod=name, reason=reason.word)


def _start_kind(pod: Json, scheduling: Reason | None, events: Sequence[PodEvent]) -> tuple[type[PodStartError], str]:
    if scheduling is not None:
        if short := shortage(scheduling):
            return CapacityError, short.advice
        if _NOT_PLACEABLE.search(scheduling.message):
            return NotPlaceableError, "Fargate never runs such a pod: change what the task asks for."
        if not _WILL_RETRY.search(scheduling.message):
            return PodStartError, ""
    elif image := image_failure(pod, events):
        return image.kind, image.advice
    elif has_node(pod) or waiting_reason(pod):
        return PodStartError, ""
    return NoNodeError, (
        "It was given no node: Fargate is slow to launch, or the subnets of its profile lead nowhere "
        "(`harbor-aws doctor`)."
    )


def ended_before_start(error: PodError) -> PodError:
    """The error for a pod that was over before it ran."""
    if isinstance(error, PodGoneError | LimitExceededError | PodStartError):
        return error
    kind = CapacityError if _NO_ROOM_ON_NODE.fullmatch(error.reason) else PodStartError
    return kind(str(error), pod=error.pod, reason=error.reason)


def end_error(name: str, pod: Json, end: PodEnd) -> PodError:
    """The error for a pod that is over.

    Args:
        pod: the newest object that is known of it.
    """
    reason, text = end.reason, f"Pod {name} ended: {str(end.reason).rstrip('.')}."
    if image := architecture_failure(pod):
        return image.kind(f"{text} {image.advice}", pod=name, reason=reason.word)
    if _is_out_of_memory(pod, reason):
        return OutOfMemoryError(f"{text} {_memory_advice(pod)}", pod=name, reason=reason.word)
    if _STORAGE.search(_own_message(pod)):
        return StorageExceededError(f"{text} {_storage_advice(pod)}", pod=name, reason=reason.word)
    if reason.word == "DeadlineExceeded":
        advice = "HARBOR_AWS_POD_DEADLINE_SECONDS of the workers is how long a pod may live."
        return PodDeadlineError(f"{text} {advice}", pod=name, reason=reason.word)
    if disruption := _disruption(pod):
        return EvictedError(f"Pod {name} was evicted: {disruption}.", pod=name, reason=disruption.word)
    if pod.get("status", {}).get("reason") in _SHUTDOWN_REASONS:
        return EvictedError(text, pod=name, reason=reason.word)
    return (PodGoneError if end.gone else PodFailedError)(text, pod=name, reason=reason.word)


def loss_error(name: str, pod: Json, reason: Reason) -> PodGoneError:
    """The error for a pod that does not exist any more, and was last seen as ``pod``."""
    if disruption := _disruption(pod):
        return EvictedError(f"Pod {name} was evicted: {disruption}.", pod=name, reason=disruption.word)
    return PodGoneError(f"Pod {name} is gone: {reason}", pod=name, reason=reason.word)


def _disruption(pod: Json) -> Reason | None:
    """Who took it away, if the cluster says that it did: by the eviction API, a taint, a node that went, a preemption.

    https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions; Fargate evicts by that
    API: https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-patching.html
    """
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return Reason(condition.get("reason") or "Evicted", (condition.get("message") or "").rstrip("."))
    return None


def _is_out_of_memory(pod: Json, reason: Reason) -> bool:
    terminated = last_container_state(pod).get("terminated") or {}
    killed = "OOMKilled" in (reason.word, terminated.get("reason"))
    return killed or bool(_MEMORY.search(_own_message(pod)))


def _own_message(pod: Json) -> str:
    """The pod's message, which the kubelet writes; a container's is whatever its processes wrote."""
    return pod.get("status", {}).get("message") or ""


def _memory_advice(pod: Json) -> str:
    limit = _limit(pod, "memory")
    return (
        f"It needs more memory than its {limit or 'limit'}: give the task more (`memory_mb` in its task.toml) or the "
        "job (`--override-memory-mb`, `--right-size`), and enqueue it anew."
    )


def _storage_advice(pod: Json) -> str:
    limit = _limit(pod, "ephemeral-storage")
    return (
        f"It needs more storage than its {limit or 'pod has'}: give the task more (`storage_mb` in its task.toml) or "
        "the job (`--override-storage-mb`), and enqueue it anew."
    )


def _limit(pod: Json, resource: str) -> str | None:
    containers = pod.get("spec", {}).get("containers") or [{}]
    limit: str | None = containers[0].get("resources", {}).get("limits", {}).get(resource)
    return limit
