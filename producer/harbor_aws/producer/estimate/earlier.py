"""What trials of the same tasks took before, from the results in the bucket. Blocking."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import OutOfMemoryError
from harbor_aws.infra.layout import result_key, results_prefix, state_key, states_prefix, trial_of
from harbor_aws.producer.estimate.pods import agent_of
from harbor_aws.producer.jobs import newest_jobs
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.profile import PodUse, TaskRun, profiles
from harbor_aws.producer.state import CommittedResult, TrialState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.planfile import PlannedTrial
    from harbor_aws.producer.usage import PodUsage

NEWEST_JOBS = 20
"""Jobs that are looked into when none is named."""

RUNS_PER_TASK = 8
"""Results that are read of one task with one agent, of the newest jobs first."""

MOST_RUNS = 4000
"""Results that are read in all; at 32 at once that is some ten seconds."""

_READS_AT_ONCE = 32

_KILLED = f"{OutOfMemoryError.__name__}:"
"""What the reason of a state begins with whose attempt was killed for lack of memory."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a trial went that has a result."""

    job: str
    trial: str
    task: str
    bundle: str
    """Digest of the task's files."""
    agent: str
    """As :func:`~harbor_aws.producer.estimate.pods.agent_of` has it."""
    agent_seconds: float
    """How long its agent's pod was billed."""
    verifier_seconds: float
    """And those of separate verifiers, all together."""
    start_seconds: float
    """What of both passed before commands ran in them."""
    pods: tuple[PodUsage, ...] = ()
    """Empty if an older version wrote the result, which did not know."""

    @property
    def seconds(self) -> float:
        return self.agent_seconds + self.verifier_seconds


def earlier_runs(store: ObjectStore, trials: Collection[PlannedTrial], *, like: str | None = None) -> list[Run]:
    """Runs of the tasks of ``trials``, the newest jobs' first.

    Args:
        like: the job whose runs they are, by whatever agent. ``None``: the newest jobs' by the trials' own agents.

    Raises:
        UsageError: there is no such job.
    """
    tasks = {trial.task for trial in trials}
    bundles = {trial.bundle for trial in trials}
    agents = {agent_of(trial.trial_config) for trial in trials}
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        jobs = [like] if like is not None else [job for _, job in newest_jobs(store, pool, limit=NEWEST_JOBS)]
        plans = pool.map(lambda job: load_plan(store, job), jobs)
        results = pool.map(lambda job: _with_result(store, job), jobs)
        chosen: list[tuple[str, PlannedTrial]] = []
        taken: Counter[tuple[str, str]] = Counter()
        for job, plan, with_result in zip(jobs, plans, results, strict=True):
            for trial in plan:
                agent = agent_of(trial.trial_config)
                wanted = (trial.task in tasks or trial.bundle in bundles) and (like is not None or agent in agents)
                if trial.trial not in with_result or not wanted or taken[trial.task, agent] == RUNS_PER_TASK:
                    continue
                taken[trial.task, agent] += 1
                chosen.append((job, trial))
        return list(_read(store, chosen[:MOST_RUNS], pool))


def uses_of(store: ObjectStore, trials: Collection[PlannedTrial]) -> dict[TaskRun, PodUse]:
    """What earlier runs of the tasks of ``trials`` by the same agents used."""
    return profiles(earlier_runs(store, trials), memory_kills(store, trials))


def run_of(job: str, trial: PlannedTrial, committed: CommittedResult) -> Run | None:
    """How a trial went; ``None`` if its result does not say when it began and ended."""
    pods = [pod for pod in committed.pods if pod.billed_from is not None and pod.ended_at is not None]
    if pods:
        billed = {role: _pod_seconds(pods, role) for role in ("agent", "verifier")}
        times = billed["agent"], billed["verifier"], sum(map(_start_seconds, pods))
    elif harbors := _harbors_times(committed.result):
        times = harbors
    else:
        return None
    return Run(
        job=job,
        trial=trial.trial,
        task=trial.task,
        bundle=trial.bundle,
        agent=agent_of(trial.trial_config),
        agent_seconds=times[0],
        verifier_seconds=times[1],
        start_seconds=times[2],
        pods=tuple(committed.pods),
    )


def _pod_seconds(pods: Iterable[PodUsage], role: str) -> float:
    return sum(
        (pod.ended_at - pod.billed_from).total_seconds()
        for pod in pods
        if pod.role == role and pod.ended_at is not None and pod.billed_from is not None
    )


def _start_seconds(pod: PodUsage) -> float:
    if pod.billed_from is None or pod.running_at is None:
        return 0.0
    return max(0.0, (pod.running_at - pod.billed_from).total_seconds())


def _harbors_times(result: dict[str, Any]) -> tuple[float, float, float] | None:
    """Seconds of the agent's pod, of a separate verifier's, and of the start, as far as Harbor's own times say."""
    whole = _between(result)
    if whole is None:
        return None
    separate = result.get("verifier_environment_mode") == "separate"
    verifier = (_between(result.get("verifier") or {}) or 0.0) if separate else 0.0
    return whole - verifier, verifier, min(whole, _between(result.get("environment_setup") or {}) or 0.0)


def _between(timing: dict[str, Any]) -> float | None:
    began, ended = timing.get("started_at"), timing.get("finished_at")
    if not began or not ended:
        return None
    return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds())


def memory_kills(store: ObjectStore, trials: Collection[PlannedTrial]) -> dict[TaskRun, int]:
    """The most memory, in MiB, with which trials of the same files by the same agent were killed for lack of it.

    Only trials of the newest jobs that have no result count: one that got through at last had enough.
    """
    wanted = {TaskRun(trial.bundle, agent_of(trial.trial_config)) for trial in trials}
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        jobs = [job for _, job in newest_jobs(store, pool, limit=NEWEST_JOBS)]
        chosen: list[tuple[str, TaskRun, str]] = []
        for job, plan in zip(jobs, pool.map(lambda job: load_plan(store, job), jobs), strict=True):
            keys = {trial.trial: TaskRun(trial.bundle, agent_of(trial.trial_config)) for trial in plan}
            begun = {trial_of(row.key) for row in store.list(states_prefix(job))} - _with_result(store, job)
            chosen += [(job, keys[name], name) for name in sorted(begun) if keys.get(name) in wanted]
        states = pool.map(lambda entry: store.get(state_key(entry[0], entry[2])), chosen[:MOST_RUNS])
        killed: dict[TaskRun, int] = {}
        for (_, key, _), body in zip(chosen, states, strict=False):
            state = TrialState.model_validate_json(body) if body else None
            if state and state.pods and (state.reason or "").startswith(_KILLED):
                had = max(pod.size.container_memory_mib for pod in state.pods)
                killed[key] = max(killed.get(key, 0), had)
    return killed


def _with_result(store: ObjectStore, job: str) -> set[str]:
    return {trial_of(row.key) for row in store.list(results_prefix(job))}


def _read(store: ObjectStore, chosen: Iterable[tuple[str, PlannedTrial]], pool: ThreadPoolExecutor) -> Iterator[Run]:
    def read(entry: tuple[str, PlannedTrial]) -> Run | None:
        job, trial = entry
        body = store.get(result_key(job, trial.trial))
        return run_of(job, trial, CommittedResult.model_validate_json(body)) if body else None

    return (run for run in pool.map(read, chosen) if run is not None)
