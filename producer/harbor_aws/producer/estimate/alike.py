"""By what trials are taken to be alike. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

type Likeness = tuple[str, ...]
"""What trials have in common, by which they can be grouped."""

LIKENESSES, LIKENESSES_OF_ANYBODY = 2, 4
"""How many :func:`likenesses` a trial has, without and with other agents."""

_NO_WORK = {"trial_name", "job_id", "task"}
"""What a trial is called, and where its task came from: the task itself is known by the digest of its files."""

_NO_WORK_OF_AGENT = {"n_concurrent", "concurrency_group"}

_SIZES = {"override_cpus", "override_memory_mb", "override_storage_mb"}
"""What is used of a pod is known of each pod, with its size."""


def agent_of(trial_config: dict[str, Any]) -> str:
    """Who a trial's agent is, with its model, for people and for how long a trial takes.

    Args:
        trial_config: Harbor's ``TrialConfig`` as JSON, without its defaults.
    """
    agent = trial_config.get("agent") or {}
    name = agent.get("import_path") or agent.get("name") or "oracle"
    return f"{name} ({agent['model_name']})" if agent.get("model_name") else str(name)


def work_of(trial_config: dict[str, Any]) -> str:
    """SHA-256 (hex) of all of a trial's configuration that changes what its pods have to do.

    Args:
        trial_config: Harbor's ``TrialConfig`` as JSON, without its defaults.
    """
    agent = _without(trial_config.get("agent"), _NO_WORK_OF_AGENT)
    environment = _without(trial_config.get("environment"), _SIZES)
    work = {**_without(trial_config, _NO_WORK), "agent": agent, "environment": environment}
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()


def likenesses(*, task: str, bundle: str, agent: str, any_agent: bool) -> list[Likeness]:
    """By what a trial's duration compares, the closest first: the files, then the name; by the same agent first.

    Args:
        any_agent: whether runs by other agents compare too.
    """
    same_agent: list[Likeness] = [("files", bundle, agent), ("name", task, agent)]
    return [*same_agent, ("files", bundle), ("name", task)] if any_agent else same_agent


def _without(config: dict[str, Any] | None, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in (config or {}).items() if name not in names}
