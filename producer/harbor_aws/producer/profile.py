"""What size a task needs, by what its earlier runs used of theirs. Pure.

Memory is lowered to its highest peak and a quarter more. A peak counts the page cache, which the kernel gives up when
memory is short: so it may be more than what is needed, is never less, and proves nothing when it is near the limit.
Memory is raised only where a pod was killed for lack of it; or to the highest peak where every run had and used more
than the task asks for, as those do that came after such an end.

Of CPU the kernel says how long it was used, not how much at once. A smaller CPU is proposed only where even all of that
time, one after the other on the smaller one, would make each run at most a twentieth longer.

A task that waits on its model most of the time is what both are made for. A benchmark's result may depend on what its
tasks have: so nobody's sizes are changed unless it is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, get_args

from harbor.models.trial.config import EnvironmentConfig as EnvironmentOptions
from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.fargate import DEFAULT_CPU_MILLIS, DEFAULT_MEMORY_MIB, FargateSize, size_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harbor_aws.producer.estimate.run import Run
    from harbor_aws.producer.usage import PodUsage

LEAST_RUNS = 3
"""Runs of the same files and work without which nothing is proposed."""

HEADROOM = 1.25
"""What is asked for more than the highest peak."""

AFTER_KILL = 2
"""How many times the memory that was not enough."""

SLOWER = 0.05
"""Share of a run that all its CPU time may take longer."""

CPUS: tuple[float, ...] = (0.25, 0.5, 1, 2, 4, 8, 16)
"""Fargate's, as far as Harbor can be told them: to 0.25 it takes whole ones alone."""
if float not in get_args(EnvironmentOptions.model_fields["override_cpus"].annotation):
    CPUS = CPUS[2:]

_MEMORY_STEP_MIB = 64


class TaskRun(NamedTuple):
    """What runs compare by: digests of the task's files and of what a trial does with them."""

    bundle: str
    work: str
    """As :func:`~harbor_aws.producer.estimate.alike.work_of` has it."""


class Asked(BaseModel):
    """What a task asks for; ``None`` leaves it to the backend's default."""

    model_config = ConfigDict(frozen=True)

    cpus: float | None
    memory_mb: int | None
    storage_mb: int | None = None

    @property
    def memory_mib(self) -> int:
        return DEFAULT_MEMORY_MIB if self.memory_mb is None else self.memory_mb

    @property
    def size(self) -> FargateSize:
        """Raise :class:`~harbor_aws.infra.errors.PermanentError` if no size holds it."""
        return size_for(self.cpus, self.memory_mb, self.storage_mb)


class PodUse(BaseModel):
    """The most that runs of a task used in any of their pods."""

    model_config = ConfigDict(frozen=True)

    runs: int
    peak_memory_mib: int | None
    """``None``: some run does not say."""
    least_memory_mib: int | None = None
    """The peak of the run that used the least; ``None``: some run does not say."""
    cpu_seconds: tuple[tuple[float, float], ...] | None
    """CPU time and length of each pod; ``None``: some run does not say."""
    killed_at_mib: int | None = None
    """The most memory with which a pod was killed for lack of it."""


def profiles(runs: Iterable[Run], kills: Mapping[TaskRun, int] | None = None) -> dict[TaskRun, PodUse]:
    """What runs used, by what they compare by; only whole runs whose pods are known count.

    Args:
        kills: memory, in MiB, with which pods were killed for lack of it.
    """
    pods: defaultdict[TaskRun, list[Sequence[PodUsage]]] = defaultdict(list)
    for run in runs:
        if run.pods and run.is_whole:
            pods[TaskRun(run.bundle, run.work)].append(run.pods)
    kills = kills or {}
    return {key: _use(pods[key], kills.get(key)) for key in [*pods, *(key for key in kills if key not in pods)]}


def wanted(asked: Asked, use: PodUse) -> tuple[Asked, str] | None:
    """What fits the use better than what is asked, and why; ``None`` if nothing does, or too little is known."""
    memory, memory_why = _memory(asked, use) if use.runs >= LEAST_RUNS or use.killed_at_mib else (None, None)
    cpus, cpu_why = _cpus(asked, use) if use.runs >= LEAST_RUNS else (None, None)
    better = asked.model_copy(
        update={
            "cpus": asked.cpus if cpus is None else cpus,
            "memory_mb": asked.memory_mb if memory is None else memory,
        }
    )
    try:
        size = better.size
    except PermanentError:  # what was killed had the largest size
        return None
    if size == asked.size:
        return None
    if memory is not None:  # what the size leaves is paid for anyway
        most = size.container_memory_mib
        is_more = memory > asked.memory_mib
        better = better.model_copy(update={"memory_mb": most if is_more else min(most, asked.memory_mib)})
    return better, "; ".join(reason for reason in (memory_why, cpu_why) if reason)


def _use(pods_of_runs: Sequence[Sequence[PodUsage]], killed_at_mib: int | None) -> PodUse:
    peaks = [_peak(of_run) for of_run in pods_of_runs]
    known = [peak for peak in peaks if peak is not None]
    is_known = bool(known) and None not in peaks
    times = [_cpu_time(pod) for of_run in pods_of_runs for pod in of_run]
    return PodUse(
        runs=len(pods_of_runs),
        peak_memory_mib=max(known) if is_known else None,
        least_memory_mib=min(known) if is_known else None,
        cpu_seconds=tuple(time for time in times if time is not None) if None not in times else None,
        killed_at_mib=killed_at_mib,
    )


def _peak(pods: Sequence[PodUsage]) -> int | None:
    """Of all pods of a run; ``None`` if one does not say."""
    peaks = [pod.peak_memory_mib for pod in pods]
    return None if None in peaks else max(peak for peak in peaks if peak is not None)


def _cpu_time(pod: PodUsage) -> tuple[float, float] | None:
    if pod.cpu_seconds is None or pod.running_at is None or pod.ended_at is None:
        return None
    return pod.cpu_seconds, (pod.ended_at - pod.running_at).total_seconds()


def _memory(asked: Asked, use: PodUse) -> tuple[int | None, str | None]:
    """MiB to ask for instead, and why."""
    has = asked.memory_mib
    if use.killed_at_mib is not None:
        if has > use.killed_at_mib:
            return None, None
        return AFTER_KILL * use.killed_at_mib, f"a pod was killed with {use.killed_at_mib} MiB of memory"
    if use.peak_memory_mib is None or use.least_memory_mib is None:
        return None, None
    if use.least_memory_mib > has:  # no headroom, or what the page cache fills would grow with every run
        return use.peak_memory_mib, f"up to {use.peak_memory_mib} MiB of memory were used"
    needs = -(-ceil(use.peak_memory_mib * HEADROOM) // _MEMORY_STEP_MIB) * _MEMORY_STEP_MIB
    return (needs, f"at most {use.peak_memory_mib} MiB of memory were used") if needs < has else (None, None)


def _cpus(asked: Asked, use: PodUse) -> tuple[float | None, str | None]:
    """vCPUs to ask for instead, and why."""
    has = DEFAULT_CPU_MILLIS / 1000 if asked.cpus is None else asked.cpus
    if use.cpu_seconds is None:
        return None, None
    fitting = (
        cpus
        for cpus in CPUS
        if cpus < has and all(used / cpus - used / has <= SLOWER * seconds for used, seconds in use.cpu_seconds)
    )
    found = next(fitting, None)
    most = max((used for used, _ in use.cpu_seconds), default=0.0)
    return found, f"at most {most:.0f} s of CPU time were used" if found is not None else None
