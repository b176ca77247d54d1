"""The ``${NAME}`` that a job and its tasks call for, which the workers are to have. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.models.agent.name import AgentName
from harbor.utils.env import get_required_host_vars

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from harbor.models.job.config import JobConfig
    from harbor.models.task.config import TaskConfig


def job_environments(config: JobConfig) -> Iterator[tuple[str, dict[str, str]]]:
    """The variables that the job itself sets, by what set them."""
    agents = [*config.agents, *([config.user_agent] if config.user_agent else [])]
    yield from (("--ae", agent.env) for agent in agents)
    yield "environment.env", config.environment.env
    yield "--ve", config.verifier.env


def called_for(config: JobConfig, tasks: Iterable[TaskConfig]) -> frozenset[str]:
    """Every name that is called for without a default."""
    of_job = (env for _, env in job_environments(config))
    of_tasks = (env for task in tasks for _, env in _task_environments(task, config))
    return frozenset(name for envs in (of_job, of_tasks) for env in envs for name in _called_for(env))


def job_variable_reasons(config: JobConfig, missing: Container[str]) -> list[str]:
    """Which of the job's ``${NAME}`` are ``missing``."""
    return _reasons(job_environments(config), missing)


def task_variable_reasons(task: TaskConfig, config: JobConfig, missing: Container[str]) -> list[str]:
    """Which of the task's ``${NAME}`` are ``missing``, the job's own settings applied."""
    return _reasons(_task_environments(task, config), missing)


def _reasons(environments: Iterable[tuple[str, Mapping[str, str]]], missing: Container[str]) -> list[str]:
    reasons = [
        f"{place} needs ${{{name}}}, which nobody has set: `harbor-aws secrets set {name}`"
        for place, env in environments
        for name in _called_for(env)
        if name in missing
    ]
    return list(dict.fromkeys(reasons))


def _called_for(env: Mapping[str, str]) -> list[str]:
    return [name for name, default in get_required_host_vars(dict(env)) if default is None]


def _task_environments(task: TaskConfig, config: JobConfig) -> Iterator[tuple[str, dict[str, str]]]:
    """Those that a trial of the job uses, without what the job sets itself."""
    yield "[environment.env]", _without(task.environment.env, config.environment.env)
    if not config.verifier.disable:
        yield "[verifier.env]", _without(_verifier_env(task), config.verifier.env)
    if any(agent.name == AgentName.ORACLE.value for agent in config.agents):
        yield "[solution.env]", task.solution.env


def _verifier_env(task: TaskConfig) -> dict[str, str]:
    env: dict[str, str] = {}
    for verifier in [task.verifier, *(step.verifier for step in task.steps or [])]:
        env |= verifier.env | (verifier.environment.env if verifier.environment else {})
    return env


def _without(env: Mapping[str, str], overridden: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in overridden}
