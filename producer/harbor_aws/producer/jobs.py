"""The jobs of a stack, counted from listings and from the states of trials without a result; no result is read."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from harbor_aws.infra.layout import PLAN_NAME, job_key, job_prefix, results_prefix, states_prefix, trial_of
from harbor_aws.producer.state import Phase, TrialState

if TYPE_CHECKING:
    from harbor_aws.infra.objects import ObjectInfo, ObjectStore

_JOBS_PREFIX = job_prefix("")[:-1]
_READS_AT_ONCE = 32


class JobSummary(BaseModel):
    """A job in a list. Each of its trials is counted once."""

    model_config = ConfigDict(frozen=True)

    job: str
    enqueued_at: datetime
    trials: int
    queued: int
    """Taken up by no worker yet, or put back from the dead-letter queue."""
    begun: int
    """Taken up, and without an ending: running, or waiting to be tried again."""
    committed: int
    dead: int
    """In the dead-letter queue."""


class JobsReader:
    """Reads the jobs of a stack again and again, and a state only if it is another than at the last look."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._phases: dict[str, tuple[str, Phase | None]] = {}
        """By key, with the ETag of the state that says so."""

    def read(self, *, limit: int) -> list[JobSummary]:
        """The newest ``limit`` jobs, newest first."""
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool, ThreadPoolExecutor(_READS_AT_ONCE) as states:
            newest = newest_jobs(self._store, pool, limit=limit)
            return list(pool.map(lambda found: self._summary(states, *found), newest))

    def _summary(self, pool: ThreadPoolExecutor, enqueued_at: datetime, job: str) -> JobSummary:
        plan = self._store.get(job_key(job, PLAN_NAME)) or b""
        total = len(plan.splitlines())
        states = {trial_of(row.key): row for row in self._store.list(states_prefix(job))}
        results = {trial_of(row.key) for row in self._store.list(results_prefix(job))}
        phases = Counter(pool.map(self._phase, [row for trial, row in states.items() if trial not in results]))
        dead, begun = phases[Phase.DEAD], phases.total() - phases[Phase.DEAD] - phases[Phase.QUEUED]
        return JobSummary(
            job=job,
            enqueued_at=enqueued_at,
            trials=total,
            queued=total - begun - len(results) - dead,
            begun=begun,
            committed=len(results),
            dead=dead,
        )

    def _phase(self, row: ObjectInfo) -> Phase | None:
        """``None`` if another version of harbor-aws wrote the state: one such trial hides no list of jobs."""
        etag, phase = self._phases.get(row.key, ("", None))
        if etag != row.etag:
            try:
                phase = TrialState.model_validate_json(self._store.get(row.key) or b"").phase
            except ValidationError:
                phase = None
            self._phases[row.key] = row.etag, phase
        return phase


def newest_jobs(store: ObjectStore, pool: ThreadPoolExecutor, *, limit: int) -> list[tuple[datetime, str]]:
    """When the newest ``limit`` jobs were enqueued, and their names; newest first."""
    names = list(store.list_folders(_JOBS_PREFIX))
    times = [found for found in pool.map(lambda name: _enqueued_at(store, name), names) if found]
    return sorted(times, reverse=True)[:limit]


def _enqueued_at(store: ObjectStore, job: str) -> tuple[datetime, str] | None:
    return next(((row.modified, job) for row in store.list(job_key(job, PLAN_NAME))), None)
