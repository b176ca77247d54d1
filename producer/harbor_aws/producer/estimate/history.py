"""Earlier jobs of the bucket, and their runs. Blocking.

What another version wrote and this one cannot read is passed over.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.layout import result_key, results_prefix, trial_of
from harbor_aws.producer.estimate.run import Run, run_of
from harbor_aws.producer.jobs import newest_jobs
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.state import CommittedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable
    from concurrent.futures import ThreadPoolExecutor

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.planfile import PlannedTrial

NEWEST_JOBS = 20
"""Jobs that are looked into when none is named."""

RUNS_PER_TASK = 8
"""Runs that are taken of one task with one agent, of the newest jobs first."""

MOST_READS = 4000
"""Results that are read for each way of being alike; at 32 at once that is some ten seconds."""

READS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """A job of the bucket, as far as all of it is read."""

    name: str
    plan: list[PlannedTrial]
    ended: set[str]
    """Its trials that have a result."""


def newest_or_named(store: ObjectStore, pool: ThreadPoolExecutor, *, like: str | None = None) -> list[EarlierJob]:
    """The newest first, or the one that is named.

    Raises:
        UsageError: there is no such job.
    """
    if like is not None:
        return [EarlierJob(like, load_plan(store, like), _with_result(store, like))]
    names = [name for _, name in newest_jobs(store, pool, limit=NEWEST_JOBS)]
    return list(pool.map(lambda name: EarlierJob(name, _plan(store, name), _with_result(store, name)), names))


def _plan(store: ObjectStore, job: str) -> list[PlannedTrial]:
    """Empty if it is gone meanwhile, or another version's."""
    try:
        return load_plan(store, job)
    except (UsageError, ValueError):
        return []


def _with_result(store: ObjectStore, job: str) -> set[str]:
    return {trial_of(row.key) for row in store.list(results_prefix(job))}


def ended[Key: Hashable](
    jobs: Iterable[EarlierJob], key_of: Callable[[PlannedTrial], Key], wanted: Collection[Key]
) -> dict[Key, list[tuple[str, PlannedTrial]]]:
    """Trials that have a result, with their jobs, by whichever of the wanted keys is theirs."""
    groups: defaultdict[Key, list[tuple[str, PlannedTrial]]] = defaultdict(list)
    for job in jobs:
        for trial in job.plan:
            if trial.trial in job.ended and (key := key_of(trial)) in wanted:
                groups[key].append((job.name, trial))
    return groups


def first_runs[Key: Hashable](
    store: ObjectStore,
    pool: ThreadPoolExecutor,
    groups: dict[Key, list[tuple[str, PlannedTrial]]],
    *,
    is_wanted: Callable[[Run], bool],
) -> dict[Key, list[Run]]:
    """The first few wanted runs of each group: for each that turns out to be none the next is read."""
    unread = {key: deque(group) for key, group in groups.items()}
    found: dict[Key, list[Run]] = {key: [] for key in groups}
    reads = MOST_READS
    while batch := [
        (key, rest.popleft())
        for key, rest in unread.items()
        for _ in range(min(len(rest), RUNS_PER_TASK - len(found[key])))
    ][:reads]:
        reads -= len(batch)
        runs = pool.map(lambda each: _run(store, *each[1]), batch)
        for (key, _), run in zip(batch, runs, strict=True):
            if run is not None and is_wanted(run):
                found[key].append(run)
    return found


def _run(store: ObjectStore, job: str, trial: PlannedTrial) -> Run | None:
    body = store.get(result_key(job, trial.trial))
    try:
        return run_of(job, trial, CommittedResult.model_validate_json(body)) if body else None
    except ValueError:  # pydantic's too
        return None
