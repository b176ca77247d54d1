"""A job's results as a job directory of Harbor's: ``harbor view`` shows it, ``harbor job resume`` goes on with it.

Harbor recognizes a finished trial by its configuration being equal to the planned one, so what the worker wrote with
its own paths is rewritten as if the trial had run here. A trial's directory appears whole or not at all; one that is
here is never fetched again, since a result is committed once. Beside what is Harbor's lies :data:`RECORD_NAME`, with
what the job's result needs of a trial and Harbor's files do not say.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from harbor.models.job.config import JobConfig
from harbor.models.job.lock import JobLock
from harbor.models.job.result import JobResult
from harbor.models.trial.result import TrialResult
from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.errors import HarborAwsError, UsageError
from harbor_aws.infra.layout import job_key, result_key, results_prefix, trial_of
from harbor_aws.producer.aggregate import aggregate
from harbor_aws.producer.bundle import unpack_attempt
from harbor_aws.producer.fetch_place import fetch_place
from harbor_aws.producer.metrics import METRICS_NAME
from harbor_aws.producer.planfile import load_plan
from harbor_aws.producer.portable import canonical_trial_config, dump_job_config
from harbor_aws.producer.state import CommittedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from harbor.models.job.lock import TrialLock

    from harbor_aws.infra.objects import ObjectStore
    from harbor_aws.producer.planfile import PlannedTrial

    type Pair = tuple[PlannedTrial, TrialLock]

RECORD_NAME = "harbor-aws.json"
"""A :class:`FetchedRecord` in a fetched trial's directory."""

_FETCHES_AT_ONCE = 16


class FetchedRecord(BaseModel):
    """What is known of a fetched trial besides Harbor's result."""

    model_config = ConfigDict(frozen=True)

    retries: int
    """Attempts before the one that is its result."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A job's directory after a fetch."""

    directory: Path
    new: int
    """Trials that this fetch brought."""
    failed: dict[str, str]
    """Trials that have a result which this fetch could not bring, with the reason; the next fetch tries them again."""
    result: JobResult
    """Harbor's result of the job as far as it goes, its trials' results included."""

    @property
    def present(self) -> int:
        """Trials that are there now."""
        return len(self.result.trial_results)

    @property
    def total(self) -> int:
        """Trials of the job's plan."""
        return int(self.result.n_total_trials)


class JobFetcher:
    """Fetches one job into ``jobs_directory / job``."""

    def __init__(self, store: ObjectStore, job: str, *, jobs_directory: Path | None = None) -> None:
        """``jobs_directory`` is the one that the job was enqueued with unless given; a relative one counts from here.

        Raises:
            UsageError: there is no such job.
        """
        self._store = store
        self._job = job
        config = JobConfig.model_validate_json(self._job_file("config.json"))
        jobs_directory = (jobs_directory or config.jobs_dir).expanduser().resolve()
        self._config = config.model_copy(update={"jobs_dir": jobs_directory})
        self.directory = jobs_directory / job

    def fetch(self, *, on_total: Callable[[int], None], on_trial: Callable[[], None]) -> Fetched:
        """Bring what is committed and not here yet. A trial that cannot be brought does not keep the others.

        While another fetch writes into the job's directory this one waits.

        Args:
            on_total: called once with the number of trials to bring.
            on_trial: called for each that has arrived.
        """
        with fetch_place(self.directory) as place:
            committed = {trial_of(row.key) for row in self._store.list(results_prefix(self._job))}
            here = {trial for trial in committed if (self.directory / trial / "result.json").is_file()}
            on_total(len(committed) - len(here))
            if committed == here and (known := self._known_result(here)):
                return Fetched(self.directory, new=0, failed={}, result=known)
            return self._bring(committed - here, here, place, on_trial)

    def _bring(self, absent: set[str], here: set[str], place: Path, on_trial: Callable[[], None]) -> Fetched:
        """Bring what is absent, and make the job's result of all trials that are here then."""
        lock = JobLock.model_validate_json(self._job_file("lock.json"))
        pairs = list(zip(load_plan(self._store, self._job), lock.trials, strict=True))
        if here and not self._is_canonical():
            for pair in pairs:
                if pair[0].trial in here:
                    self._canonicalize(pair, self._read_result(self.directory / pair[0].trial), self.directory)
        self._write_job_files(lock)
        wanted = [pair for pair in pairs if pair[0].trial in absent]
        failed = self._fetch_trials(wanted, place, on_trial)
        arrived = [trial.trial for trial, _ in pairs if trial.trial in (here | absent) - failed.keys()]
        result = aggregate(
            [self._read_result(self.directory / trial) for trial in arrived],
            job_id=UUID(pairs[0][0].trial_config["job_id"]),
            config=self._config,
            lock=lock,
            metrics=self._job_file(METRICS_NAME),
            retries=self._retries(arrived),
        )
        _write(self.directory / "result.json", result.model_dump_json(indent=4, exclude={"trial_results"}))
        return Fetched(self.directory, new=len(wanted) - len(failed), failed=failed, result=result)

    def _job_file(self, name: str) -> bytes:
        body = self._store.get(job_key(self._job, name))
        if body is None:
            raise UsageError(f"There is no job {self._job!r} on this stack; `harbor-aws status` lists them.")
        return body

    def _known_result(self, here: set[str]) -> JobResult | None:
        """The job's result as an earlier fetch wrote it, if nothing has changed since."""
        path = self.directory / "result.json"
        if not path.is_file() or not self._is_canonical():
            return None
        result = JobResult.model_validate_json(path.read_bytes())
        if (result.stats.n_completed_trials, result.stats.n_retries) != (len(here), self._known_retries(here)):
            return None
        trials = [self._read_result(self.directory / trial) for trial in sorted(here)]
        return result.model_copy(update={"trial_results": trials})

    def _is_canonical(self) -> bool:
        path = self.directory / "config.json"
        return path.is_file() and path.read_text() == dump_job_config(self._config)

    def _known_retries(self, trials: Iterable[str]) -> int | None:
        """Of all these trials together; ``None`` if an older version fetched one, which did not keep that."""
        records = [self.directory / trial / RECORD_NAME for trial in trials]
        if not all(record.is_file() for record in records):
            return None
        return sum(FetchedRecord.model_validate_json(record.read_bytes()).retries for record in records)

    def _retries(self, trials: Sequence[str]) -> int:
        """Of all these trials together; those of which it is not known are looked up, once."""
        unknown = [trial for trial in trials if not (self.directory / trial / RECORD_NAME).is_file()]
        with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
            for trial, committed in zip(unknown, pool.map(self._committed, unknown), strict=True):
                _write_record(self.directory / trial, committed)
        return self._known_retries(trials) or 0

    def _write_job_files(self, lock: JobLock) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        _write(self.directory / "lock.json", lock.model_dump_json(indent=4, exclude_none=True))
        _write(self.directory / "config.json", dump_job_config(self._config))

    def _fetch_trials(self, wanted: list[Pair], place: Path, on_trial: Callable[[], None]) -> dict[str, str]:
        """Bring trials at once; those that could not be brought, and why."""
        failed: dict[str, str] = {}
        with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
            fetching = {pool.submit(self._fetch_trial, pair, place): pair[0].trial for pair in wanted}
            try:
                for trial in as_completed(fetching):
                    try:
                        trial.result()
                    except (HarborAwsError, OSError, ValueError) as error:  # pydantic's are ValueErrors
                        failed[fetching[trial]] = " ".join(str(error).split())
                    else:
                        on_trial()
            finally:
                pool.shutdown(cancel_futures=True)
        return dict(sorted(failed.items()))

    def _fetch_trial(self, pair: Pair, place: Path) -> None:
        trial = pair[0].trial
        committed = self._committed(trial)
        archive = place / f"{trial}.tar.zst"
        self._store.download(committed.archive, archive)
        unpack_attempt(archive, place / trial)
        archive.unlink()
        self._canonicalize(pair, TrialResult.model_validate(committed.result), place)
        _write_record(place / trial, committed)
        target = self.directory / trial
        if target.exists():  # without a result: what Harbor, too, would remove
            shutil.rmtree(target)
        (place / trial).rename(target)

    def _committed(self, trial: str) -> CommittedResult:
        body = self._store.get(result_key(self._job, trial))
        assert body is not None  # noqa: S101 - it was listed, and a result is never removed
        return CommittedResult.model_validate_json(body)

    def _canonicalize(self, pair: Pair, result: TrialResult, parent: Path) -> None:
        """Rewrite what names paths in the trial's directory below ``parent``, as if the trial had run here."""
        planned, lock = pair
        config = canonical_trial_config(planned.trial_config, trials_directory=self.directory)
        canonical = result.model_copy(
            update={
                "config": config,
                "task_id": config.task.get_task_id(),
                "trial_uri": (self.directory / planned.trial).as_uri(),
            }
        )
        directory = parent / planned.trial
        _write(directory / "config.json", config.model_dump_json(indent=4, exclude_defaults=True))
        _write(directory / "lock.json", lock.model_dump_json(indent=4, exclude_none=True))
        _write(directory / "result.json", canonical.model_dump_json(indent=4))

    def _read_result(self, directory: Path) -> TrialResult:
        return TrialResult.model_validate_json((directory / "result.json").read_bytes())


def _write_record(directory: Path, committed: CommittedResult) -> None:
    retries = committed.attempt - 1 if committed.retries is None else committed.retries
    _write(directory / RECORD_NAME, FetchedRecord(retries=retries).model_dump_json(indent=4))


def _write(path: Path, text: str) -> None:
    """Replace a file whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
