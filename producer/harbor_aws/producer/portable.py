"""Makes what is asked for independent of the machine that asked.

The producer makes the *job's* configuration portable before it plans: the texts of extra instruction files become
inline instructions, paths of tasks become absolute, the environment becomes ours, and what needs other files of this
machine is refused. So every trial's configuration is portable too, and the one in the plan, in the message and in a
fetched job directory are the same.

A worker turns a message's configuration into one that Harbor runs with :func:`runnable_trial_config`: the task is the
unpacked bundle (whatever it was: local, git, package; its ``source`` stays), and ``trials_dir`` is the worker's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harbor.models.trial.config import TaskConfig, TrialConfig

from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor.models.job.config import DatasetConfig, JobConfig
    from harbor.models.trial.config import AgentConfig, EnvironmentConfig, UserAgentConfig

    from harbor_aws.producer.message import TrialMessage

ENVIRONMENT_IMPORT_PATH = "harbor_aws.worker.environment:FargateEnvironment"


def portable_job_config(config: JobConfig) -> JobConfig:
    """``config`` with its files inlined, its paths absolute, and our environment.

    Raises:
        UsageError: an extra instruction file cannot be read.
    """
    environment = config.environment.model_copy(update={"type": None, "import_path": ENVIRONMENT_IMPORT_PATH})
    return config.model_copy(
        update={
            "environment": environment,
            "extra_instructions": [*map(_text, config.extra_instruction_paths), *config.extra_instructions],
            "extra_instruction_paths": [],
            "tasks": [_absolute_task(task) for task in config.tasks],
            "datasets": [_absolute_dataset(dataset) for dataset in config.datasets],
        }
    )


def dump_job_config(config: JobConfig) -> str:
    """``config.json`` as Harbor writes it; the name is always in it, even while it is still the default one."""
    dump = json.loads(config.model_dump_json(exclude_defaults=True))
    return json.dumps({"job_name": config.job_name, **dump}, indent=4)


def unportable_reasons(config: JobConfig) -> list[str]:
    """What the job needs of this machine that no worker can see, or that a queue cannot honour."""
    reasons = list(_environment_reasons(config.environment))
    for agent in config.agents:
        reasons += _agent_reasons(agent)
    if config.user_agent:
        reasons += [*_agent_reasons(config.user_agent), *_user_agent_reasons(config.user_agent)]
    if config.source_jobs:
        reasons.append("source_jobs derives trials from jobs on this machine; use `harbor run` for that")
    return list(dict.fromkeys(reasons))


def portable_trial_config(config: TrialConfig) -> dict[str, Any]:
    """A trial's configuration as a message has it: JSON without its defaults, and without this machine's directory."""
    dump: dict[str, Any] = json.loads(config.model_dump_json(exclude_defaults=True, exclude={"trials_dir"}))
    return dump


def canonical_trial_config(trial_config: dict[str, Any], *, trials_directory: Path) -> TrialConfig:
    """The producer's own configuration of a trial, as ``harbor job resume`` expects it in the job's directory."""
    return TrialConfig.model_validate({**trial_config, "trials_dir": trials_directory})


def runnable_trial_config(message: TrialMessage, *, task_directory: Path, trials_directory: Path) -> TrialConfig:
    """What a worker gives to ``Trial.create``.

    ``task_directory`` is the unpacked bundle. Its name is the task's name where ``task.toml`` gives none, so it must be
    called as the producer's was. The trial's directory will be ``trials_directory / message.trial``.
    """
    config = canonical_trial_config(message.trial_config, trials_directory=trials_directory)
    task = TaskConfig(path=task_directory, source=config.task.source)
    return config.model_copy(update={"task": task, "trial_name": message.trial})


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The extra instruction file {path} cannot be read: {error}") from error


def _absolute_task(task: TaskConfig) -> TaskConfig:
    if task.path is None or task.is_git_task():
        return task
    return task.model_copy(update={"path": task.path.expanduser().resolve()})


def _absolute_dataset(dataset: DatasetConfig) -> DatasetConfig:
    if dataset.is_repo():
        return dataset
    paths = {
        name: path.expanduser().resolve() for name in ("path", "registry_path") if (path := getattr(dataset, name))
    }
    return dataset.model_copy(update=paths)


def _environment_reasons(environment: EnvironmentConfig) -> Iterator[str]:
    if environment.mounts:
        yield "--mounts binds directories of this machine; a pod has none of them. Put the files into the task"
    if environment.extra_docker_compose:
        yield "--extra-docker-compose needs docker compose; a trial here is one container"
    if environment.force_build:
        yield "--force-build has no use here: an image is named by its content, so a changed one is built by itself"
    if not environment.delete:
        yield "--no-delete would leave pods that cost money; what a trial left is in the bucket"
    if environment.stream:
        yield "--stream needs a machine that the trial runs on; follow the job with `harbor-aws status --watch`"
    if environment.extra_allowed_hosts:
        yield "--allow-environment-host narrows the network, which nothing here enforces"


def _agent_reasons(agent: AgentConfig) -> Iterator[str]:
    if agent.skills:
        yield "--skill copies directories of this machine; put them into the task's environment and name its skills_dir"
    if agent.load_trajectory:
        yield "--load-trajectory reads a file of this machine; put it into the task as trajectory.json"
    if agent.n_concurrent:
        yield "--n-concurrent-agents counts within one process; here workers × slots bound what runs at once"
    if agent.extra_allowed_hosts:
        yield "--allow-agent-host narrows the network, which nothing here enforces"


def _user_agent_reasons(user_agent: UserAgentConfig) -> Iterator[str]:
    from harbor.bridges.base import bridge_input_files

    files = [
        user_agent.user_persona_path,
        user_agent.user_prompt_template_path,
        user_agent.bridge.prompt_path,
        *bridge_input_files(user_agent.bridge).values(),
    ]
    if named := [str(path) for path in files if path]:
        yield f"the simulated user reads files of this machine that no worker has: {', '.join(named)}"
