"""Whether this backend can run a task: one Linux container of a Fargate size, with a network that the stack enforces.

Reads the task's directory; nothing else is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor.constants import MAIN_SERVICE_NAME
from harbor.environments.definition import COMPOSE_FILE_NAME, DOCKERFILE_NAME, has_agent_environment_definition
from harbor.models.task.config import ArtifactConfig, EnvironmentConfig, TaskOS
from harbor.models.task.verifier_mode import resolve_verifier_environment_definition
from harbor.models.trial.config import ResourceMode

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.fargate import size_for
from harbor_aws.producer.network import network_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harbor.models.task.config import StepConfig, TaskConfig
    from harbor.models.task.task import Task
    from harbor.models.trial.config import EnvironmentConfig as EnvironmentOptions

    from harbor_aws.infra.fargate import FargateSize
    from harbor_aws.infra.stack import Stack


@dataclass(frozen=True, slots=True)
class TaskEnvironment:
    """A container that a task needs: the agent's, or a separate verifier's."""

    label: str
    config: EnvironmentConfig
    directory: Path

    @property
    def is_built(self) -> bool:
        """Whether its image comes from the Dockerfile, and not from a registry."""
        return not self.config.docker_image and (self.directory / DOCKERFILE_NAME).is_file()


def task_environments(task: Task, *, verify: bool) -> list[TaskEnvironment]:
    """Every container that a trial of the task starts, the agent's first."""
    environments = [TaskEnvironment("environment", task.config.environment, task.paths.environment_dir)]
    steps: Sequence[StepConfig | None] = task.config.steps or [None]
    for step in steps if verify else []:
        definition = resolve_verifier_environment_definition(task.config, task.paths, step)
        if definition is not None:
            environments.append(TaskEnvironment("verifier's environment", definition.config, definition.directory))
    return environments


def unsupported_reasons(
    task: Task, *, options: EnvironmentOptions, verify: bool, stack: Stack | None = None
) -> list[str]:
    """Why this backend cannot run ``task`` with the job's environment ``options``; empty if it can.

    Args:
        stack: where it is to run; ``None`` for one that enforces nothing.
    """
    reasons = [
        reason
        for environment in task_environments(task, verify=verify)
        for reason in _environment_reasons(environment, options)
    ]
    reasons += network_reasons(task, options=options, verify=verify, stack=stack)
    reasons += _service_reasons(task.config)
    return list(dict.fromkeys(reasons))


def _environment_reasons(environment: TaskEnvironment, options: EnvironmentOptions) -> Iterator[str]:
    config, label = environment.config, environment.label
    if (environment.directory / COMPOSE_FILE_NAME).is_file():
        compose = f"{environment.directory.name}/{COMPOSE_FILE_NAME}"
        yield f"its {label} needs docker compose ({compose}); a trial here is one container"
    elif not has_agent_environment_definition(environment.directory, docker_image=config.docker_image):
        yield f"its {label} has neither docker_image nor {environment.directory.name}/{DOCKERFILE_NAME}"
    if config.os == TaskOS.WINDOWS:
        yield f"its {label} is Windows; Fargate pods on EKS are Linux"
    if gpus := options.override_gpus if options.override_gpus is not None else config.gpus:
        yield f"its {label} needs {gpus} GPU(s); Fargate has none"
    if options.override_tpu or config.tpu:
        yield f"its {label} needs a TPU; Fargate has none"
    yield from _size_reasons(label, config, options)


def _size_reasons(label: str, config: EnvironmentConfig, options: EnvironmentOptions) -> Iterator[str]:
    try:
        environment_size(config, options)
    except PermanentError as error:
        yield f"its {label} does not fit: {error}"


def environment_size(config: EnvironmentConfig, options: EnvironmentOptions) -> FargateSize:
    """The size of the pod of one of a task's environments, the job's options applied.

    Raises:
        PermanentError: no size holds it; the message says what is too much.
    """
    cpus = options.override_cpus if options.override_cpus is not None else config.cpus
    memory = options.override_memory_mb if options.override_memory_mb is not None else config.memory_mb
    storage = options.override_storage_mb if options.override_storage_mb is not None else config.storage_mb
    return size_for(
        None if options.cpu_enforcement_policy == ResourceMode.IGNORE else cpus,
        None if options.memory_enforcement_policy == ResourceMode.IGNORE else memory,
        storage,
    )


def _service_reasons(config: TaskConfig) -> Iterator[str]:
    artifacts = [*config.artifacts, *(entry for step in config.steps or [] for entry in step.artifacts)]
    hooks = [*config.verifier.collect, *(hook for step in config.steps or [] for hook in step.verifier.collect)]
    services = {entry.service for entry in artifacts if isinstance(entry, ArtifactConfig)} | {
        hook.service for hook in hooks
    }
    if others := sorted(service for service in services if service not in (None, MAIN_SERVICE_NAME)):
        yield f"it collects from docker compose services ({', '.join(others)}); a trial here is one container"
