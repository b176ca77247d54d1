"""How many pods a trial starts, of what size, and how long they may exist, by its task and its configuration. Pure.

Harbor gives a time to the start of an environment, to the agent's setup, to the agent and to the verifier; what it
does between them (health checks, transfers) has none, but for the deadline of the whole attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harbor.agents.factory import AgentFactory
from harbor.models.task.config import VerifierEnvironmentMode
from harbor.models.task.verifier_mode import resolve_step_verifier_mode, resolve_task_verifier_mode

from harbor_aws.producer.estimate.pods import PlannedPod
from harbor_aws.producer.support import environment_size, task_environments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor.models.task.config import StepConfig
    from harbor.models.task.task import Task
    from harbor.models.trial.config import TrialConfig

    from harbor_aws.infra.fargate import FargateSize


def planned_pods(task: Task, trial: TrialConfig, *, deadline_seconds: float) -> tuple[PlannedPod, ...]:
    """Every pod that an attempt at the trial starts, the agent's first.

    Args:
        deadline_seconds: how long an attempt may take, whatever else is said.

    Raises:
        PermanentError: a pod fits no size.
    """
    times = _Times(task, trial)
    verify = not (trial.verifier.disable or trial.install_only)
    sizes = [environment_size(found.config, trial.environment) for found in task_environments(task, verify=verify)]
    steps: Sequence[StepConfig | None] = task.config.steps or [None]
    busy, separate = times.setup, list[tuple[float, bool]]()
    for number, step in enumerate(steps, start=1):
        busy += 0.0 if trial.install_only else times.agent(step)
        if not verify:
            continue
        if times.is_separate(step):
            is_beside = number < len(steps)  # for the last one the agent's pod does not wait
            separate.append((times.verifier(step), is_beside))
            if is_beside:
                busy += times.start + times.verifier(step)
        else:
            busy += times.verifier(step)
    pods = [_pod("agent", sizes[0], times.start, busy, deadline_seconds)]
    for size, (seconds, is_beside) in zip(sizes[1:], separate, strict=True):
        verifier = _pod("verifier", size, times.start, seconds, deadline_seconds)
        pods.append(verifier.model_copy(update={"is_beside_agent": is_beside}))
    return tuple(pods)


def _pod(
    role: Literal["agent", "verifier"], size: FargateSize, start: float, busy: float, deadline: float
) -> PlannedPod:
    start = min(start, deadline)
    return PlannedPod(
        role=role,
        cpu_millis=size.cpu_millis,
        memory_mib=size.memory_mib,
        storage_gib=size.storage_gib,
        start_seconds=start,
        busy_seconds=min(busy, deadline - start),
        is_bounded=busy <= deadline - start,
    )


class _Times:
    """Harbor's time-outs of a trial, as ``harbor.trial.trial`` works them out (0.24)."""

    def __init__(self, task: Task, trial: TrialConfig) -> None:
        self._task = task.config
        self._trial = trial

    @property
    def start(self) -> float:
        return self._times(
            self._task.environment.build_timeout_sec, multiplier=self._trial.environment_build_timeout_multiplier
        )

    @property
    def setup(self) -> float:
        own = self._trial.agent.override_setup_timeout_sec
        seconds = AgentFactory.get_agent_class_from_config(self._trial.agent).DEFAULT_SETUP_TIMEOUT_SEC
        return self._times(seconds if own is None else own, multiplier=self._trial.agent_setup_timeout_multiplier)

    def agent(self, step: StepConfig | None) -> float:
        """Infinite if nothing bounds the agent."""
        own = self._task.agent.timeout_sec if step is None or step.agent.timeout_sec is None else step.agent.timeout_sec
        seconds = self._trial.agent.override_timeout_sec or own
        if seconds is None:
            return float("inf")
        return self._times(
            seconds, most=self._trial.agent.max_timeout_sec, multiplier=self._trial.agent_timeout_multiplier
        )

    def verifier(self, step: StepConfig | None) -> float:
        own = (self._task if step is None else step).verifier.timeout_sec
        return self._times(
            self._trial.verifier.override_timeout_sec or own,
            most=self._trial.verifier.max_timeout_sec,
            multiplier=self._trial.verifier_timeout_multiplier,
        )

    def is_separate(self, step: StepConfig | None) -> bool:
        mode = resolve_task_verifier_mode(self._task) if step is None else resolve_step_verifier_mode(self._task, step)
        return mode is VerifierEnvironmentMode.SEPARATE

    def _times(self, seconds: float, *, most: float | None = None, multiplier: float | None) -> float:
        factor = self._trial.timeout_multiplier if multiplier is None else multiplier
        return min(seconds, most or float("inf")) * factor
