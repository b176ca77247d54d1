"""Other sizes for a job's tasks, as overrides in their trials' configurations. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.models.trial.config import ResourceMode
from pydantic import BaseModel, ConfigDict

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.fargate_prices import pod_usd_per_hour
from harbor_aws.producer.estimate.alike import agent_of, work_of
from harbor_aws.producer.estimate.limits import planned_pods
from harbor_aws.producer.portable import portable_trial_config
from harbor_aws.producer.profile import Asked, TaskRun, wanted
from harbor_aws.producer.support import task_environments
from harbor_aws.producer.tasks import task_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor.models.task.task import Task
    from harbor.models.trial.config import TrialConfig

    from harbor_aws.producer.estimate.pods import PlannedPod
    from harbor_aws.producer.profile import PodUse


class RightSized(BaseModel):
    """A task whose trials get another size than it asks for."""

    model_config = ConfigDict(frozen=True)

    task: str
    agent: str
    trials: int = 1
    cpus: float | None
    """What overrides the task's own; ``None``: nothing."""
    memory_mb: int | None
    """What overrides the task's own; ``None``: nothing."""
    before: tuple[FargateSize, ...]
    """Of all its pods, the agent's first."""
    after: tuple[FargateSize, ...]
    why: str
    runs: int
    """That say so."""


def right_sized(
    task: Task, trial: TrialConfig, *, bundle: str, uses: Mapping[TaskRun, PodUse], deadline_seconds: float
) -> tuple[TrialConfig, RightSized | None]:
    """The trial's configuration, with another size if its task's runs let one be proposed.

    What the user overrides stays. A size that makes the pods dearer is taken only for memory that is needed. An
    override is for every pod of a trial: where a separate verifier asks for another size than the agent, all stays.

    Args:
        bundle: digest of the task's files.
    """
    portable, options = portable_trial_config(trial), trial.environment
    use = uses.get(TaskRun(bundle, work_of(portable)))
    if use is None or options.override_memory_mb is not None or options.override_cpus is not None:
        return trial, None
    if ResourceMode.IGNORE in (options.cpu_enforcement_policy, options.memory_enforcement_policy):
        return trial, None
    asked = _asked(task, trial)
    found = wanted(asked, use) if asked else None
    if asked is None or found is None:
        return trial, None
    better, why = found
    cpus = better.cpus if better.cpus != asked.cpus else None
    memory = better.memory_mb if better.memory_mb != asked.memory_mb else None
    overrides = {"override_cpus": _whole(cpus), "override_memory_mb": memory}
    changed = trial.model_copy(update={"environment": options.model_copy(update=overrides)})
    before = planned_pods(task, trial, deadline_seconds=deadline_seconds)
    after = planned_pods(task, changed, deadline_seconds=deadline_seconds)
    if _usd(after) >= _usd(before) and better.memory_mib <= asked.memory_mib:
        return trial, None
    sizes = [tuple(pod.size for pod in pods) for pods in (before, after)]
    return changed, RightSized(
        task=task_label(trial.task),
        agent=agent_of(portable),
        cpus=cpus,
        memory_mb=memory,
        before=sizes[0],
        after=sizes[1],
        why=why,
        runs=use.runs,
    )


def counted(found: Sequence[RightSized]) -> list[RightSized]:
    """One for all trials of a task that get the same, with how many those are."""
    alike: dict[tuple[str, str, tuple[FargateSize, ...]], list[RightSized]] = {}
    for each in found:
        alike.setdefault((each.task, each.agent, each.after), []).append(each)
    return [same[0].model_copy(update={"trials": len(same)}) for same in alike.values()]


def _asked(task: Task, trial: TrialConfig) -> Asked | None:
    """What every pod of the trial asks for; ``None`` if they do not ask for the same."""
    storage = trial.environment.override_storage_mb
    environments = task_environments(task, verify=not (trial.verifier.disable or trial.install_only))
    asked = {
        Asked(
            cpus=each.config.cpus,
            memory_mb=each.config.memory_mb,
            storage_mb=each.config.storage_mb if storage is None else storage,
        )
        for each in environments
    }
    return asked.pop() if len(asked) == 1 else None


def _whole(cpus: float | None) -> float | None:
    """As an integer where it is one: Harbor 0.24 knows no others."""
    return int(cpus) if cpus is not None and cpus == int(cpus) else cpus


def _usd(pods: Sequence[PlannedPod]) -> float:
    """With all the time that they may take."""
    return sum(pod.seconds / 3600 * pod_usd_per_hour(pod.size) for pod in pods)
