"""Which of a worker's variables are secrets. Pure: the environment is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor.utils.env import get_required_host_vars, is_sensitive_env_key

from harbor_aws.worker.scrub.forms import LEAST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def sensitive_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those whose names Harbor takes for a secret's (KEY, SECRET, TOKEN, PASSWORD, CREDENTIAL, AUTH)."""
    return {
        name: value
        for name, value in environ.items()
        if is_sensitive_env_key(name) and len(value.strip()) >= LEAST_CHARACTERS
    }


def referred_to(configuration: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a configuration gives on under a secret's name, as ``API_KEY = "${ANY_NAME}"``.

    Args:
        configuration: JSON's values, a task's or a trial's.
    """
    names = {
        variable
        for name, value in _entries(configuration)
        if is_sensitive_env_key(name)
        for variable, _ in get_required_host_vars({name: value})
    }
    return {name: environ[name] for name in sorted(names) if name in environ}


def _entries(value: Any) -> Iterator[tuple[str, str]]:
    """Every text under a name, at any depth."""
    match value:
        case dict():
            for name, below in value.items():
                if isinstance(below, str):
                    yield str(name), below
                else:
                    yield from _entries(below)
        case list():
            for below in value:
                yield from _entries(below)
