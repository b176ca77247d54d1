"""Whether a stack can give a task the network that it asks for: all of it, or none where the stack enforces that.

What Harbor makes of a task's levels (environment, agent, verifier, steps) is Harbor's own: a pod has one network from
its beginning to its end, so all that runs in one pod has to want the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.models.task.config import NetworkMode, VerifierEnvironmentMode
from harbor.models.task.verifier_mode import (
    resolve_effective_verifier_env_config,
    resolve_step_verifier_mode,
    resolve_task_verifier_mode,
)
from harbor.models.trial.config import AgentConfig
from harbor.trial.network_policy import resolve_trial_network_plan

from harbor_aws.infra.image_reference import image_reference, through_cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harbor.models.task.config import EnvironmentConfig, NetworkPolicy, StepConfig, TaskConfig
    from harbor.models.task.task import Task
    from harbor.models.trial.config import EnvironmentConfig as EnvironmentOptions

    from harbor_aws.infra.stack import Stack


def network_reasons(task: Task, *, options: EnvironmentOptions, verify: bool, stack: Stack | None) -> list[str]:
    """Why ``stack`` cannot give ``task`` its network; empty if it can."""
    # Hosts that are allowed on top are refused as the job's, whatever the task.
    plain = options.model_copy(update={"extra_allowed_hosts": []})
    steps: Sequence[StepConfig | None] = task.config.steps or [None]
    reasons = [reason for step in steps for reason in _step_reasons(task.config, step, plain, verify, stack)]
    return list(dict.fromkeys(reasons))


def _step_reasons(
    config: TaskConfig, step: StepConfig | None, options: EnvironmentOptions, verify: bool, stack: Stack | None
) -> Iterator[str]:
    mode = resolve_task_verifier_mode(config) if step is None else resolve_step_verifier_mode(config, step)
    plan = resolve_trial_network_plan(config, AgentConfig(), options, step, verifier_mode=mode)
    agent = _place("agent", step if step is not None and step.agent.network_mode is not None else None)
    verifier = _place("verifier", step if step is not None and step.verifier.network_mode is not None else None)
    phases = [(agent, plan.agent_phase)]
    if mode == VerifierEnvironmentMode.SHARED:
        phases.append((verifier, plan.verifier_phase))
    yield from _pod_reasons("environment", config.environment, plan.agent_env_baseline, phases, stack)
    if plan.verifier_env_baseline is not None and verify:
        own = step is not None and step.verifier.environment is not None
        inherits = not own and config.verifier.environment is None
        place = "environment" if inherits else _place("verifier.environment", step if own else None)
        environment = resolve_effective_verifier_env_config(config, step) or config.environment
        phases = [(verifier, plan.verifier_phase)]
        yield from _pod_reasons(place, environment, plan.verifier_env_baseline, phases, stack)


def _pod_reasons(
    place: str,
    environment: EnvironmentConfig,
    baseline: NetworkPolicy,
    phases: Sequence[tuple[str, NetworkPolicy]],
    stack: Stack | None,
) -> Iterator[str]:
    """Why a pod cannot have the network of its environment and of what runs in it."""
    yield from _mode_reasons(place, environment, baseline, stack)
    for phase_place, phase in phases:
        if phase.network_mode == NetworkMode.ALLOWLIST != baseline.network_mode:
            yield from _mode_reasons(phase_place, environment, phase, stack)
        elif phase != baseline:
            yield (
                f"[{phase_place}] asks for network_mode {phase.network_mode.value!r} in the pod of [{place}], which "
                f"has {baseline.network_mode.value!r}: a pod's network cannot be changed while it runs. Say the same "
                "in both, or give the verifier an environment of its own"
            )


def _mode_reasons(
    place: str, environment: EnvironmentConfig, policy: NetworkPolicy, stack: Stack | None
) -> Iterator[str]:
    asks = f"[{place}] asks for network_mode {policy.network_mode.value!r}"
    if policy.network_mode == NetworkMode.ALLOWLIST:
        yield (
            f"{asks}, which nothing here enforces: neither security groups nor network namespaces know names of hosts. "
            "It can have 'no-network' or 'public'"
        )
    elif policy.network_mode == NetworkMode.PUBLIC:
        return
    elif stack is None or stack.isolation == "none":
        yield f"{asks}, which this stack does not enforce: `harbor-aws deploy --isolation` makes one that does"
    elif stack.isolation == "security-group":
        yield from _image_reasons(place, environment.docker_image, stack)


def _image_reasons(place: str, image: str | None, stack: Stack) -> Iterator[str]:
    """A pod's image comes by the pod's own interface, which without a network leads to ECR alone."""
    reference = image_reference(through_cache(image, stack.docker_hub_prefix)) if image else None
    registry = stack.image_repository.partition("/")[0]
    if reference is not None and reference.registry != registry:
        yield (
            f"[{place}] has no network, so its image can come from {registry} alone, and {image} does not: push it "
            "there, or write a Dockerfile, or let Docker Hub's come through the cache (`harbor-aws deploy "
            "--docker-hub-secret`)"
        )


def _place(name: str, step: StepConfig | None) -> str:
    return name if step is None else f"steps.{step.name}.{name}"
