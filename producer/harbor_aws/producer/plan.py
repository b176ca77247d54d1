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
from harbor_aws.producer.estimate.limits import planned_pods
from harbor_aws.producer.estimate.pods import TRIAL_DEADLINE_SECONDS
from harbor_aws.producer.estimate.right_size import RightSized, counted, right_sized
from harbor_aws.producer.planfile import PlannedTrial
from harbor_aws.producer.portable import portable_job_config, portable_trial_config, unportable_reasons
from harbor_aws.producer.refusal import Objections
from harbor_aws.producer.secrets import secret_reasons
from harbor_aws.producer.support import task_environments, unsupported_reasons
from harbor_aws.producer.task_images.source import ImageSource
from harbor_aws.producer.tasks import ResolvedTasks, resolve_tasks, task_label, without_tasks
from harbor_aws.producer.variables import called_for, job_variable_reasons, task_variable_reasons

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from harbor.metrics.base import BaseMetric
    from harbor.models.job.config import JobConfig
    from harbor.models.job.lock import JobLock
    from harbor.models.trial.config import TaskConfig, TrialConfig
    from harbor.tasks.client import TaskIdType

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.estimate.pods import PlannedPod
    from harbor_aws.producer.profile import PodUse, TaskRun

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
    images: dict[str, ImageSource]
    """What is built from a Dockerfile, by the content hash that names the image."""
    skipped: list[str] = field(default_factory=list)
    """Tasks that were left out, each with its reasons."""
    right_sized: list[RightSized] = field(default_factory=list)
    """Tasks whose trials get another size than they ask for."""

    @property
    def job(self) -> str:
        return str(self.config.job_name)

    @property
    def tasks(self) -> int:
        return len({trial.bundle for trial in self.trials})


async def prepare(
    config: JobConfig,
    *,
    directory: Path,
    attempts: int,
    skip_unsupported: bool = False,
    stack: Stack | None = None,
    deadline_seconds: float = TRIAL_DEADLINE_SECONDS,
    uses: Callable[[Sequence[PlannedTrial]], Mapping[TaskRun, PodUse]] | None = None,
    missing: Callable[[frozenset[str]], Awaitable[frozenset[str]]] | None = None,
) -> Prepared:
    """Plan a job, check all of it, and pack its tasks into ``directory``.

    Args:
        stack: where it is to run; ``None`` for one that enforces no network policy.
        deadline_seconds: how long an attempt may take.
        uses: what earlier runs of the tasks used, by which they get other sizes; asked once, may block.
        missing: of the variables that the job and its tasks call ``${NAME}``, those that the workers lack; by default
            those that this process lacks.

    Raises:
        RefusedError: something of the job cannot run; all reasons at once.
        UsageError: there is nothing to run, or a file is missing.
        DatasetError: the dataset could not be had.
    """
    _check_name(config.job_name)
    objections = Objections(job=unportable_reasons(config))
    config = portable_job_config(config)
    objections.job += [*agent_reasons(config, os.environ), *secret_reasons(config, os.environ)]
    resolved = await resolve_tasks(config, objections)
    _check_tasks(config, resolved, objections, stack)
    await _check_variables(config, resolved, objections, missing or _missing_here)
    digests = await _pack(resolved, objections, directory=directory)
    planning = _Planning(config, resolved, digests, attempts=attempts, deadline_seconds=deadline_seconds)
    trials, configs = planning.trials(objections)
    total = len({task_label(task) for task in resolved.all} | objections.tasks.keys())
    objections.raise_if_any(total_tasks=total, skip_unsupported=skip_unsupported)
    found: list[RightSized] = []
    if uses is not None:
        configs, found = planning.right_sized(configs, await asyncio.to_thread(uses, trials))
    trials = [planning.with_pods(trial) for trial in configs]
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
        right_sized=counted(found),
    )


def _check_name(job: str) -> None:
    """By itself: every trial's message has the name in it, so every task would be objected to as well."""
    if not _JOB_NAME.fullmatch(job):
        raise UsageError(
            f"The job's name {job!r} must be letters, digits, '.', '_' and '-', at most 200, the first no sign."
        )


def _check_tasks(config: JobConfig, resolved: ResolvedTasks, objections: Objections, stack: Stack | None) -> None:
    for task_id, task in resolved.loaded.items():
        verify = not config.verifier.disable
        if reasons := unsupported_reasons(task, options=config.environment, verify=verify, stack=stack):
            objections.tasks[task_id.get_name()] += reasons


async def _check_variables(
    config: JobConfig,
    resolved: ResolvedTasks,
    objections: Objections,
    missing: Callable[[frozenset[str]], Awaitable[frozenset[str]]],
) -> None:
    names = called_for(config, (task.config for task in resolved.loaded.values()))
    lacking = await missing(names) if names else names
    objections.job += job_variable_reasons(config, lacking)
    for task_id, task in resolved.loaded.items():
        if reasons := task_variable_reasons(task.config, config, lacking):
            objections.tasks[task_id.get_name()] += reasons


async def _missing_here(names: frozenset[str]) -> frozenset[str]:
    return names - os.environ.keys()


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


class _Planning:
    """From the configurations of trials to the trials themselves."""

    def __init__(
        self,
        config: JobConfig,
        resolved: ResolvedTasks,
        digests: dict[TaskIdType, str],
        *,
        attempts: int,
        deadline_seconds: float,
    ) -> None:
        self._config = config
        self._resolved = resolved
        self._digests = digests
        self._attempts = attempts
        self._deadline_seconds = deadline_seconds
        self._retry = json.loads(config.retry.model_dump_json(exclude_defaults=True))
        self._pods: dict[str, tuple[PlannedPod, ...]] = {}

    def trials(self, objections: Objections) -> tuple[list[PlannedTrial], list[TrialConfig]]:
        """Of all tasks that have nothing against them, in Harbor's order, each with its configuration.

        Harbor draws a trial's name at random when it makes the configuration: it is made here, once.
        """
        tasks = [task for task in self._resolved.all if task.get_task_id() in self._digests]
        configs = JobPlan.build_trial_configs(self._config, tasks, job_id=uuid4())
        configs = [trial for trial in configs if task_label(trial.task) not in objections.tasks]
        trials = [self.trial(trial) for trial in configs]
        for trial in trials:
            if trial.task not in objections.tasks and (reason := _message_reason(self._config.job_name, trial)):
                objections.tasks[trial.task].append(reason)
        kept = [pair for pair in zip(trials, configs, strict=True) if pair[0].task not in objections.tasks]
        return [trial for trial, _ in kept], [trial_config for _, trial_config in kept]

    def trial(self, trial: TrialConfig) -> PlannedTrial:
        """Without its pods."""
        return PlannedTrial(
            trial=trial.trial_name,
            task=task_label(trial.task),
            bundle=self._digests[trial.task.get_task_id()],
            trial_config=portable_trial_config(trial),
            attempts=self._attempts,
            retry=self._retry,
        )

    def with_pods(self, trial: TrialConfig) -> PlannedTrial:
        planned = self.trial(trial)
        alike = json.dumps({**planned.trial_config, "trial_name": planned.bundle}, sort_keys=True)
        if alike not in self._pods:  # the attempts at a task need not read its directory each
            task = self._resolved.loaded[trial.task.get_task_id()]
            self._pods[alike] = planned_pods(task, trial, deadline_seconds=self._deadline_seconds)
        return planned.model_copy(update={"pods": self._pods[alike]})

    def right_sized(
        self, configs: list[TrialConfig], uses: Mapping[TaskRun, PodUse]
    ) -> tuple[list[TrialConfig], list[RightSized]]:
        """The configurations with the sizes that earlier runs propose, and what those are."""
        pairs = [self._right_sized(trial, uses) for trial in configs]
        return [config for config, _ in pairs], [change for _, change in pairs if change is not None]

    def _right_sized(self, trial: TrialConfig, uses: Mapping[TaskRun, PodUse]) -> tuple[TrialConfig, RightSized | None]:
        task_id = trial.task.get_task_id()
        return right_sized(
            self._resolved.loaded[task_id],
            trial,
            bundle=self._digests[task_id],
            uses=uses,
            deadline_seconds=self._deadline_seconds,
        )


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


def _images(config: JobConfig, resolved: ResolvedTasks, tasks: list[TaskConfig]) -> dict[str, ImageSource]:
    """What is to be built, by the content hash that names it: the tasks' own environments and separate verifiers'."""
    images: dict[str, ImageSource] = {}
    for task in {each.get_task_id(): each for each in tasks}.values():
        for environment in task_environments(resolved.loaded[task.get_task_id()], verify=not config.verifier.disable):
            if environment.is_built:
                content_hash = environment_content_hash(environment.directory)
                others = images[content_hash].tasks if content_hash in images else ()
                named = tuple(dict.fromkeys([*others, task_label(task)]))
                images[content_hash] = ImageSource(environment.directory, named)
    return images
