"""What the pods of an attempt were billed at and used, from what the cluster says of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.capacity_provisioned import ANNOTATION, parse_capacity
from harbor_aws.infra.labels import PREFIX
from harbor_aws.producer.usage import Consumption, PodUsage, consumption, total
from harbor_aws.worker.peak_use import PeakUse, peak_use
from harbor_aws.worker.pod_spec import asked_size, memory_limit_mib
from harbor_aws.worker.pod_status import is_running, last_container_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.producer.message import TrialMessage
    from harbor_aws.producer.state import TrialState
    from harbor_aws.worker.pod import Pod

Json = dict[str, Any]

_NOTHING_KNOWN = PeakUse()


@dataclass(slots=True)
class _UsedPod:
    pod: Pod
    peak: PeakUse = _NOTHING_KNOWN


class UsedPods:
    """The pods that an attempt has made so far."""

    def __init__(self) -> None:
        self._pods: list[_UsedPod] = []

    def add(self, pod: Pod) -> None:
        """From now on it is one of them."""
        self._pods.append(_UsedPod(pod))

    async def ask(self, pod: Pod, cluster: Cluster) -> None:
        """Ask one of them that is about to be deleted for the most that it used, if it still runs."""
        used = next((used for used in self._pods if used.pod is pod), None)
        if used is None or pod.is_over or not is_running(pod.object):
            return
        usage = _usage(used)
        if usage is not None:
            age_seconds = (datetime.now(UTC) - usage.created_at).total_seconds()
            used.peak = await peak_use(cluster, pod.name, memory_mib=usage.memory_mib, age_seconds=age_seconds)

    @property
    def usages(self) -> list[PodUsage]:
        """What is known of each now, the agent's first."""
        return [usage for used in self._pods if (usage := _usage(used))]

    def consumption(self) -> Consumption:
        """What they have consumed by now."""
        now = datetime.now(UTC)
        return total(consumption(usage, now=now) for usage in self.usages)


def _usage(used: _UsedPod) -> PodUsage | None:
    pod = used.pod
    return pod_usage(pod.object, made_at=pod.made_at, gone_at=pod.gone_at, peak=used.peak)


def predecessor(message: TrialMessage, last: TrialState | None) -> TrialState | None:
    """What was last said of the trial, if it was said of this very attempt."""
    here = (message.replay, message.attempt)
    return last if last is not None and (last.replay, last.attempt) == here else None


def consumed_before(message: TrialMessage, last: TrialState | None, *, left: Iterable[Json] = ()) -> Consumption:
    """What a trial had consumed before now: by its message, or by what a worker that had the message before said.

    Args:
        last: see :func:`predecessor`.
        left: pods of whatever attempts that were there until now. That worker may not have told of its newest ones;
            of attempts before, all that was known is in the message.
    """
    if last is None:
        return message.consumed
    now = datetime.now(UTC)
    told = last.consumption(now=now)
    known = {pod.name for pod in last.pods}
    untold = [pod for pod in left if _annotation(pod, f"{PREFIX}attempt") == last.attempt_id]
    usages = (pod_usage(pod, made_at=now, gone_at=now) for pod in untold if pod["metadata"]["name"] not in known)
    return (message.consumed if told is None else told) + total(consumption(one, now=now) for one in usages if one)


def pod_usage(
    pod: Json, *, made_at: datetime, gone_at: datetime | None, peak: PeakUse = _NOTHING_KNOWN
) -> PodUsage | None:
    """What a pod's object says, its size included; ``None`` if it is no pod of a trial.

    Args:
        made_at: when it was made, should the object not say.
        gone_at: when it was deleted, if it was.
    """
    size = asked_size(pod)
    if size is None:
        return None
    provisioned = parse_capacity(_annotation(pod, ANNOTATION), storage_gib=size.storage_gib)
    billed = provisioned or size
    created_at = _time(pod["metadata"].get("creationTimestamp")) or made_at
    return PodUsage(
        name=pod["metadata"]["name"],
        role="verifier" if pod["metadata"].get("labels", {}).get(f"{PREFIX}role") == "verifier" else "agent",
        cpu_millis=billed.cpu_millis,
        memory_mib=billed.memory_mib,
        storage_gib=billed.storage_gib,
        memory_limit_mib=memory_limit_mib(pod),
        is_provisioned=provisioned is not None,
        created_at=created_at,
        scheduled_at=_scheduled_at(pod),
        running_at=_running_at(pod, created_at),
        ended_at=gone_at,
        peak_memory_mib=peak.memory_mib,
        cpu_seconds=peak.cpu_seconds,
    )


def _scheduled_at(pod: Json) -> datetime | None:
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            return _time(condition.get("lastTransitionTime"))
    return None


def _running_at(pod: Json, created_at: datetime) -> datetime | None:
    """A container that could not be started has begun at the beginning of time, by some runtimes."""
    state = last_container_state(pod)
    began = _time((state.get("running") or state.get("terminated") or {}).get("startedAt"))
    return began if began and began >= created_at else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _annotation(pod: Json, name: str) -> str:
    annotations: dict[str, str] = pod["metadata"].get("annotations") or {}
    return annotations.get(name, "")
