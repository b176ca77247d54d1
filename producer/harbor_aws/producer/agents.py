"""Whether the agents and the verifier that a job names exist and take what they are given.

Their keys are not asked for: workers have them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harbor.agents.factory import AgentFactory
from harbor.utils.env import is_env_template
from harbor.utils.import_path import import_symbol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harbor.models.job.config import JobConfig
    from harbor.models.trial.config import AgentConfig

ENVIRONMENT_KWARGS: frozenset[str] = frozenset({"restricted"})
"""What ``--ek`` may name. Harbor swallows unknown ones without a word, so they are refused here."""


def agent_reasons(config: JobConfig, environ: Mapping[str, str]) -> list[str]:
    """Why the job's agents, verifier or environment options cannot work; empty if they can."""
    reasons: list[str] = []
    for agent in [*config.agents, *([config.user_agent] if config.user_agent else [])]:
        reasons += _agent_reasons(agent, environ)
    if config.verifier.import_path and (reason := _import_reason(config.verifier.import_path)):
        reasons.append(f"The verifier cannot be imported: {reason}")
    if unknown := sorted(config.environment.kwargs.keys() - ENVIRONMENT_KWARGS):
        reasons.append(f"Unknown environment option(s) --ek {', '.join(unknown)}; known: {_known()}.")
    return list(dict.fromkeys(reasons))


def _known() -> str:
    return ", ".join(sorted(ENVIRONMENT_KWARGS)) or "none"


def _agent_reasons(agent: AgentConfig, environ: Mapping[str, str]) -> Iterator[str]:
    # litellm, which some agents import, otherwise fetches a price list from the network when it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    name = agent.name or agent.import_path
    try:
        agent_class = AgentFactory.get_agent_class_from_config(agent)
    except (ValueError, TypeError, ImportError):
        yield f"There is no agent {name!r}; built in are: {', '.join(AgentFactory.registered_names())}."
        return
    # What a worker alone knows is shown to the options as present.
    env = {key: environ.get(key, "") if is_env_template(value) else value for key, value in agent.env.items()}
    try:
        agent_class.parse_options(agent.kwargs, env)
    except (ValueError, TypeError) as error:
        yield f"Agent {name!r} does not take its options: {' '.join(str(error).split())}"


def _import_reason(import_path: str) -> str | None:
    try:
        import_symbol(import_path)
    except (ValueError, ImportError) as error:
        return str(error)
    return None
