"""From a Harbor job configuration to what will be sent: every check is made here, and nothing leaves this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from harbor.environments.definition import environment_content_hash
from harbor.job_plan import JobPlan
from harbor.models.job.lock import build_job_lock
from pydantic import ValidationError

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer.agents import agent_reasons
from harbor_aws.producer.bundle import pack_task
from harbor_aws.producer.celery_message import encode
from harbor_aws.producer.planfile import PlannedTrial
from harbor_aws.producer.portable import portable_job_config, portable_trial_config, unportable_reasons
from harbor_aws.producer.refusal import Objections
from harbor_aws.producer.secrets import secret_reasons
from harbor_aws.producer.support import task_environments, unset_variable_reasons, unsupported_reasons
from harbor_aws.producer.tasks import ResolvedTasks, resolve_tasks, task_label, without_tasks

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from harbor.metrics.base import BaseMetric
    from harbor.models.job.config import JobConfig
    from harbor.models.job.lock import JobLock
    from harbor.models.trial.config import TaskConfig, TrialConfig
    from harbor.tasks.client import TaskIdType

_PACKING_AT_ONCE = 4
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that can run, ready to be sent."""

    config: JobConfig
    trials: list[PlannedTrial]
    """One to one with ``lock.trials``."""
    lock: JobLock
    metrics: dict[str, list[BaseMetric[Any]]]
    """Harbor's metrics by dataset."""
    bundles: dict[str, Path]
    """Archives by their digest."""
    images: dict[str, Path]
    """Directories with a Dockerfile, by the content hash that names the image built from it."""
    skipped: list[str] = field(default_factory=list)
    """Tasks that were left out, each with its reasons."""

    @property
    def job(self) -> str:
        return str(self.config.job_name)

    @property
    def tasks(self) -> int:
        return len({trial.bundle for trial in self.trials})


async def prepare(config: JobConfig, *, directory: Path, attempts: int, skip_unsupported: bool = False) -> Prepared:
    """Plan a job, check all of it, and pack its tasks into ``directory``.

    Raises:
        RefusedError: something of the job cannot run; all reasons at once.
        UsageError: there is nothing to run, or a file is missing.
        DatasetError: the dataset could not be had.
    """
    objections = Objections(job=[*_name_reasons(config.job_name), *unportable_reasons(config)])
    config = portable_job_config(config)
    objections.job += [*agent_reasons(config, os.environ), *secret_reasons(config, os.environ)]
    resolved = await resolve_tasks(config, objections)
    _check_tasks(config, resolved, objections)
    digests = await _pack(resolved, objections, directory=directory)
    trials, configs = _plan_trials(config, resolved, digests, objections, attempts=attempts)
    total = len({task_label(task) for task in resolved.all} | objections.tasks.keys())
    objections.raise_if_any(total_tasks=total, skip_unsupported=skip_unsupported)
    if objections.tasks:
        config = without_tasks(config, resolved, set(objections.tasks))
    tasks = [trial.task for trial in configs]
    return Prepared(
        config=config,
        trials=trials,
        lock=_lock(config, configs, resolved),
        metrics=await JobPlan.resolve_metrics(config, tasks),
        bundles={trial.bundle: _archive(directory, trial.bundle) for trial in trials},
        images=_images(config, resolved, tasks),
        skipped=objections.task_lines(),
    )


def _name_reasons(job: str) -> list[str]:
    if _JOB_NAME.fullmatch(job):
        return []
    return [f"The job's name {job!r} must be letters, digits, '.', '_' and '-', at most 200, the first no sign."]


def _check_tasks(config: JobConfig, resolved: ResolvedTasks, objections: Objections) -> None:
    for task_id, task in resolved.loaded.items():
        reasons = [
            *unsupported_reasons(task, options=config.environment, verify=not config.verifier.disable),
            *unset_variable_reasons(task, config=config, environ=os.environ),
        ]
        if reasons:
            objections.tasks[task_id.get_name()] += reasons


async def _pack(resolved: ResolvedTasks, objections: Objections, *, directory: Path) -> dict[TaskIdType, str]:
    """Pack every task that has nothing against it; digests by task."""
    slots = asyncio.Semaphore(_PACKING_AT_ONCE)

    async def pack(index: int, task_id: TaskIdType) -> tuple[TaskIdType, str | None]:
        archive = directory / f"{index}.packing"
        async with slots:
            try:
                digest = await asyncio.to_thread(pack_task, resolved.loaded[task_id].task_dir, archive)
            except UsageError as error:
                objections.tasks[task_id.get_name()].append(str(error))
                return task_id, None
        archive.replace(_archive(directory, digest))
        return task_id, digest

    wanted = [task_id for task_id in resolved.loaded if task_id.get_name() not in objections.tasks]
    packed = await asyncio.gather(*(pack(index, task_id) for index, task_id in enumerate(wanted)))
    return {task_id: digest for task_id, digest in packed if digest is not None}


def _archive(directory: Path, digest: str) -> Path:
    return directory / f"{digest}.tar.zst"


def _plan_trials(
    config: JobConfig,
    resolved: ResolvedTasks,
    digests: dict[TaskIdType, str],
    objections: Objections,
    *,
    attempts: int,
) -> tuple[list[PlannedTrial], list[TrialConfig]]:
    """The trials of all tasks that have nothing against them, in Harbor's order, each with its configuration.

    Harbor draws a trial's name at random when it makes the configuration: it is made here, once.
    """
    tasks = [task for task in resolved.all if task.get_task_id() in digests]
    configs = JobPlan.build_trial_configs(config, tasks, job_id=uuid4())
    retry = json.loads(config.retry.model_dump_json(exclude_defaults=True))
    trials = [
        PlannedTrial(
            trial=trial.trial_name,
            task=task_label(trial.task),
            bundle=digests[trial.task.get_task_id()],
            trial_config=portable_trial_config(trial),
            attempts=attempts,
            retry=retry,
        )
        for trial in configs
    ]
    for trial in trials:
        if trial.task not in objections.tasks and (reason := _message_reason(config.job_name, trial)):
            objections.tasks[trial.task].append(reason)
    kept = [pair for pair in zip(trials, configs, strict=True) if pair[0].task not in objections.tasks]
    return [trial for trial, _ in kept], [trial_config for _, trial_config in kept]


def _message_reason(job: str, trial: PlannedTrial) -> str | None:
    try:
        encode(trial.message(job))
    except UsageError as error:
        return str(error)
    except ValidationError:
        return f"the name of its trial, {trial.trial!r}, must be letters, digits, '.', '_' and '-'"
    return None


def _lock(config: JobConfig, configs: list[TrialConfig], resolved: ResolvedTasks) -> JobLock:
    """The job's lock. Harbor hashes a task's files for each of its trials; here its attempts share one lock."""
    once = len(configs) // config.n_attempts
    lock = build_job_lock(config=config, trial_configs=configs[:once], task_download_results=resolved.downloads)
    return lock.model_copy(update={"trials": lock.trials * config.n_attempts})


def _images(config: JobConfig, resolved: ResolvedTasks, tasks: list[TaskConfig]) -> dict[str, Path]:
    """What is to be built, by the content hash that names it: the tasks' own environments and separate verifiers'."""
    loaded = {task.get_task_id(): resolved.loaded[task.get_task_id()] for task in tasks}
    environments = [
        environment
        for task in loaded.values()
        for environment in task_environments(task, verify=not config.verifier.disable)
        if environment.is_built
    ]
    return {environment_content_hash(environment.directory): environment.directory for environment in environments}
