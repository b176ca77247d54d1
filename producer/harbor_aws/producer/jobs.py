"""The jobs of a stack, counted from listings alone: no state and no result is read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.layout import PLAN_NAME, job_key, job_prefix, results_prefix, states_prefix, trial_of

if TYPE_CHECKING:
    from harbor_aws.infra.objects import ObjectStore

_JOBS_PREFIX = job_prefix("")[:-1]
_READS_AT_ONCE = 16


class JobSummary(BaseModel):
    """A job in a list."""

    model_config = ConfigDict(frozen=True)

    job: str
    enqueued_at: datetime
    trials: int
    committed: int
    begun: int
    """Taken up by a worker at least once, and without a result: running, waiting to be tried again, or dead."""
    queued: int


def list_jobs(store: ObjectStore, *, limit: int) -> list[JobSummary]:
    """The newest ``limit`` jobs, newest first."""
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        newest = newest_jobs(store, pool, limit=limit)
        return list(pool.map(lambda found: _summary(store, *found), newest))


def newest_jobs(store: ObjectStore, pool: ThreadPoolExecutor, *, limit: int) -> list[tuple[datetime, str]]:
    """When the newest ``limit`` jobs were enqueued, and their names; newest first."""
    names = list(store.list_folders(_JOBS_PREFIX))
    times = [found for found in pool.map(lambda name: _enqueued_at(store, name), names) if found]
    return sorted(times, reverse=True)[:limit]


def _enqueued_at(store: ObjectStore, job: str) -> tuple[datetime, str] | None:
    return next(((row.modified, job) for row in store.list(job_key(job, PLAN_NAME))), None)


def _summary(store: ObjectStore, enqueued_at: datetime, job: str) -> JobSummary:
    plan = store.get(job_key(job, PLAN_NAME)) or b""
    total = len(plan.splitlines())
    begun = {trial_of(row.key) for row in store.list(states_prefix(job))}
    results = {trial_of(row.key) for row in store.list(results_prefix(job))}
    return JobSummary(
        job=job,
        enqueued_at=enqueued_at,
        trials=total,
        committed=len(results),
        begun=len(begun - results),
        queued=total - len(begun | results),
    )
