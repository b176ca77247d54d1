"""From a job's datasets to task directories on this machine, with a reason for everything that is not a task."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from harbor.job_plan import JobPlan
from harbor.models.task.task import Task

from harbor_aws.infra.errors import HarborAwsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor.models.job.config import DatasetConfig, JobConfig
    from harbor.models.trial.config import TaskConfig
    from harbor.tasks.client import TaskDownloadResult, TaskIdType

    from harbor_aws.producer.refusal import Objections


class DatasetError(HarborAwsError):
    """A dataset could not be resolved or downloaded."""


@dataclass(slots=True)
class ResolvedTasks:
    """The tasks of a job, before and after downloading."""

    listed: list[TaskConfig]
    """``config.tasks``."""
    by_dataset: list[list[TaskConfig]]
    """One to one with ``config.datasets``."""
    downloads: dict[TaskIdType, TaskDownloadResult]
    loaded: dict[TaskIdType, Task]
    """What could be loaded; the rest is among the objections."""

    @property
    def all(self) -> list[TaskConfig]:
        """In the order in which Harbor runs them."""
        return [*self.listed, *(task for tasks in self.by_dataset for task in tasks)]


async def resolve_tasks(config: JobConfig, objections: Objections) -> ResolvedTasks:
    """Expand, download and load every task; what is not a valid task becomes an objection.

    Raises:
        UsageError: there is no task at all, or no such dataset directory.
        DatasetError: a registry, the Hub or git failed.
    """
    verify = not config.verifier.disable
    by_dataset = [await _dataset_tasks(dataset, objections, verify=verify) for dataset in config.datasets]
    resolved = ResolvedTasks([task.model_copy(deep=True) for task in config.tasks], by_dataset, {}, {})
    if not resolved.all and not objections.tasks:
        raise UsageError("There is no task to run; give a dataset, a task directory, or a directory of tasks.")
    present = [task for task in resolved.all if _is_present(task, objections)]
    try:
        resolved.downloads = await JobPlan.cache_tasks(present)
    except Exception as error:  # Harbor's client raises its transports' errors, git's and its own
        raise DatasetError(f"The tasks could not be downloaded: {error}") from error
    for task in present:
        _load(task, resolved, objections, verify=verify)
    return resolved


def task_label(task: TaskConfig) -> str:
    """A task's name for people."""
    return str(task.get_task_id().get_name())


def without_tasks(config: JobConfig, resolved: ResolvedTasks, names: set[str]) -> JobConfig:
    """``config`` that expands to its tasks but for ``names``, now and when it is resumed."""
    datasets = [
        _only(dataset, [task_label(task) for task in tasks], names)
        for dataset, tasks in zip(config.datasets, resolved.by_dataset, strict=True)
    ]
    return config.model_copy(
        update={
            "tasks": [task for task in config.tasks if task_label(task) not in names],
            "datasets": [dataset for dataset in datasets if dataset is not None],
        }
    )


def _only(dataset: DatasetConfig, tasks: Sequence[str], left_out: set[str]) -> DatasetConfig | None:
    kept = [name for name in tasks if name not in left_out]
    if not kept:
        return None
    if len(kept) == len(tasks):
        return dataset
    return dataset.model_copy(
        update={"task_names": [escape(name) for name in kept], "exclude_task_names": None, "n_tasks": None}
    )


async def _dataset_tasks(dataset: DatasetConfig, objections: Objections, *, verify: bool) -> list[TaskConfig]:
    if dataset.is_local() and dataset.path is not None:
        if not dataset.path.is_dir():
            raise UsageError(f"There is no directory {dataset.path}.")
        _note_invalid_tasks(dataset, dataset.path, objections, verify=verify)
    try:
        return list(await dataset.get_task_configs(disable_verification=not verify))
    except Exception as error:  # as above
        not_here = f", and there is no directory {Path.cwd() / dataset.name} either" if dataset.name else ""
        raise DatasetError(
            f"The dataset {dataset.name or dataset.path or dataset.repo} was not found{not_here}: {error}"
        ) from error


def _note_invalid_tasks(dataset: DatasetConfig, path: Path, objections: Objections, *, verify: bool) -> None:
    """Harbor passes over directories that are no valid tasks; one that is meant as a task must not be lost silently."""
    for directory in [path, *sorted(path.iterdir())]:
        if not (directory / "task.toml").is_file() or not _is_selected(dataset, directory.name):
            continue
        if not Task.is_valid_dir(directory, disable_verification=not verify):
            objections.tasks[directory.name].append(_why_invalid(directory, verify=verify))


def _is_selected(dataset: DatasetConfig, name: str) -> bool:
    included = not dataset.task_names or any(fnmatch(name, pattern) for pattern in dataset.task_names)
    return included and not any(fnmatch(name, pattern) for pattern in dataset.exclude_task_names or [])


def _why_invalid(directory: Path, *, verify: bool) -> str:
    if not (directory / "environment").is_dir():
        return "it is not a valid task: it has no environment directory"
    try:
        Task(directory, disable_verification=not verify)
    except (OSError, ValueError, RuntimeError) as error:
        return f"it is not a valid task: {_one_line(error)}"
    return "it is not a valid task: it has no instruction.md"


def _is_present(task: TaskConfig, objections: Objections) -> bool:
    if task.path is None or task.is_git_task() or task.path.is_dir():
        return True
    objections.tasks[task_label(task)].append(f"there is no directory {task.path}")
    return False


def _load(task: TaskConfig, resolved: ResolvedTasks, objections: Objections, *, verify: bool) -> None:
    task_id = task.get_task_id()
    if task_id in resolved.loaded:
        return
    try:
        resolved.loaded[task_id] = Task(resolved.downloads[task_id].path, disable_verification=not verify)
    except (OSError, ValueError, RuntimeError) as error:
        objections.tasks[task_label(task)].append(f"it is not a valid task: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
