"""What trials of the very same tasks used before, and with what memory they were killed. Blocking."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import OutOfMemoryError
from harbor_aws.infra.layout import state_key, states_prefix, trial_of
from harbor_aws.producer.estimate.alike import work_of
from harbor_aws.producer.estimate.history import MOST_READS, READS_AT_ONCE, ended, first_runs, newest_or_named
from harbor_aws.producer.profile import PodUse, TaskRun, profiles
from harbor_aws.producer.state import TrialState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.estimate.history import EarlierJob
    from harbor_aws.producer.planfile import PlannedTrial

_KILLED = f"{OutOfMemoryError.__name__}:"
"""What the reason of a state begins with whose attempt was killed for lack of memory."""


def uses_of(store: ObjectStore, trials: Collection[PlannedTrial]) -> dict[TaskRun, PodUse]:
    """What whole runs of the very same files and work as ``trials`` used, and with what memory others were killed.

    Raises:
        InfrastructureError: the bucket cannot be read.
    """
    wanted = {_task_run(trial) for trial in trials}
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        jobs = newest_or_named(store, pool)
        runs = first_runs(store, pool, ended(jobs, _task_run, wanted), is_wanted=lambda run: run.is_whole)
        kills = _memory_kills(store, pool, jobs, wanted)
    return profiles((run for same in runs.values() for run in same), kills)


def _task_run(trial: PlannedTrial) -> TaskRun:
    return TaskRun(trial.bundle, work_of(trial.trial_config))


def _memory_kills(
    store: ObjectStore, pool: ThreadPoolExecutor, jobs: Sequence[EarlierJob], wanted: Collection[TaskRun]
) -> dict[TaskRun, int]:
    """The most memory, in MiB, with which a container was killed for lack of it.

    Only trials that have no result count: one that got through at last had enough.
    """
    begun = pool.map(lambda job: {trial_of(row.key) for row in store.list(states_prefix(job.name))}, jobs)
    chosen = [
        (key, job.name, trial.trial)
        for job, names in zip(jobs, begun, strict=True)
        for trial in job.plan
        if trial.trial in names and trial.trial not in job.ended and (key := _task_run(trial)) in wanted
    ][:MOST_READS]
    killed: dict[TaskRun, int] = {}
    had = pool.map(lambda each: _memory_that_killed(store, each[1], each[2]), chosen)
    for (key, *_), memory_mib in zip(chosen, had, strict=True):
        if memory_mib is not None:
            killed[key] = max(killed.get(key, 0), memory_mib)
    return killed


def _memory_that_killed(store: ObjectStore, job: str, trial: str) -> int | None:
    """What the container had that was killed, if one was; which it was, the reason names."""
    body = store.get(state_key(job, trial))
    try:
        state = TrialState.model_validate_json(body) if body else None
    except ValueError:
        return None
    if state is None or not (state.reason or "").startswith(_KILLED):
        return None
    words = (state.reason or "").split()
    died = next((pod for pod in state.pods if pod.name in words), next(iter(state.pods), None))
    return died.container_memory_mib if died else None
