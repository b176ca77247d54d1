"""Refuses what would travel as a secret in clear, or as a broken one. Pure: the environment is an argument.

Harbor writes an environment value under a telling name (KEY, SECRET, TOKEN, PASSWORD, CREDENTIAL, AUTH) as ``${NAME}``
if the writer's own environment has that very value, and otherwise redacts it for good, so that the worker would get
``sk-1****xyz``. Keyword arguments it writes as they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harbor.utils.env import is_env_template, is_sensitive_env_key

from harbor_aws.producer.variables import job_environments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harbor.models.job.config import JobConfig

WHOLE_SECRET_CHARACTERS = 8
"""A value that equals a secret of at least this length is that secret; shorter ones are words."""

PART_SECRET_CHARACTERS = 16
"""A text that contains a secret of at least this length has it from there."""

_VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def secret_reasons(config: JobConfig, environ: Mapping[str, str]) -> list[str]:
    """Why a job must not be written to the bucket and the queue as it is; empty if it may."""
    return [
        *_redacted(config, environ),
        *_secret_kwargs(config),
        *_copied_from_environment(config.model_dump(mode="json"), environ),
    ]


def _redacted(config: JobConfig, environ: Mapping[str, str]) -> Iterator[str]:
    for option, env in job_environments(config):
        for name, value in env.items():
            if is_sensitive_env_key(name) and not is_env_template(value) and environ.get(name) != value:
                yield (
                    f"{option} {name}=… holds a secret, which must not travel through the queue: give {name} to the "
                    f"workers (`harbor-aws secrets set {name}`) and pass {option} '{name}=${{{name}}}'"
                )


def _secret_kwargs(config: JobConfig) -> Iterator[str]:
    for option, kwargs in (
        *(("--ak", agent.kwargs) for agent in config.agents),
        ("--ek", config.environment.kwargs),
        ("--verifier-kwarg", config.verifier.kwargs),
        *([("--uk", config.user_agent.kwargs)] if config.user_agent else []),
    ):
        for name, value in _leaves(kwargs):
            if is_sensitive_env_key(name) and _looks_secret(value):
                yield (
                    f"{option} {name}=… looks like a secret and would travel in clear: give it to the workers "
                    f"instead, as a variable (`harbor-aws secrets set`)"
                )


def _looks_secret(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) >= WHOLE_SECRET_CHARACTERS
        and not is_env_template(value)
        and not _VARIABLE_NAME.fullmatch(value)
    )


def _copied_from_environment(dump: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    secrets = {
        name: value
        for name, value in environ.items()
        if is_sensitive_env_key(name) and len(value) >= WHOLE_SECRET_CHARACTERS
    }
    for place, text in _leaves(dump):
        for name, secret in secrets.items():
            if text == secret or (isinstance(text, str) and len(secret) >= PART_SECRET_CHARACTERS and secret in text):
                yield f"{place} holds the value of your {name}, which would travel in clear; refer to it as ${{{name}}}"


def _leaves(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _leaves(below, f"{place}[{index}]")
    else:
        yield place, value
