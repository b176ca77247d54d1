"""Harbor's result of a job from the results of its trials, by Harbor's own aggregation, without its datasets."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harbor.job_plan import JobPlan

from harbor_aws.producer.metrics import load_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from harbor.models.job.config import JobConfig
    from harbor.models.job.lock import JobLock
    from harbor.models.job.result import JobResult
    from harbor.models.trial.result import TrialResult


def aggregate(
    results: Sequence[TrialResult],
    *,
    job_id: UUID,
    config: JobConfig,
    lock: JobLock,
    metrics: bytes,
    retries: int,
) -> JobResult:
    """The job's result as far as ``results`` go; it is finished when they are all of ``lock.trials``.

    Args:
        metrics: what :func:`~harbor_aws.producer.metrics.dump_metrics` wrote when the job was planned.
        retries: attempts beyond the first, of all trials.
    """
    total = len(lock.trials)
    with tempfile.TemporaryDirectory(prefix="harbor-aws-metrics-") as directory:
        plan = JobPlan(
            config=config,
            id=job_id,
            task_configs=[],
            trial_configs=[],
            metrics=load_metrics(metrics, directory=Path(directory)),
            task_download_results={},
            job_lock=lock,
        )
        started_at = min((_local(result.started_at) for result in results if result.started_at), default=None)
        ended_at = max((_local(result.finished_at) for result in results if result.finished_at), default=None)
        job = plan.aggregate(
            results, started_at=started_at, finished_at=ended_at, n_retries=retries, n_total_trials=total
        )
    return job if len(results) == total else job.model_copy(update={"finished_at": None})


def _local(moment: datetime) -> datetime:
    """Harbor writes a job's times as local ones without a zone, and subtracts them from such."""
    return moment.astimezone().replace(tzinfo=None)
