"""Which of a worker's variables are secrets. Pure: the environment is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor.utils.env import get_required_host_vars, is_sensitive_env_key

from harbor_aws.infra.secrets.names import is_setting
from harbor_aws.worker.scrub.telling import is_word, tells_of_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def sensitive_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those whose own names tell that they are secrets, but for the stack's own, and for values that are words."""
    return {name: value for name, value in environ.items() if tells_of_secret(name, value) and _may_be(name, value)}


def referred_to(configuration: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a configuration gives on under a secret's name, as ``API_KEY = "${ANY_NAME}"``.

    Who writes a task chooses them, so they are looked for in what its own attempts leave, and nowhere else.

    Args:
        configuration: JSON's values, a task's or a trial's.
    """
    names = {
        variable
        for name, value in _entries(configuration)
        if is_sensitive_env_key(name)
        for variable, _ in get_required_host_vars({name: value})
    }
    return {name: environ[name] for name in sorted(names) if name in environ and _may_be(name, environ[name])}


def _may_be(name: str, value: str) -> bool:
    return not is_setting(name) and not is_word(value.strip())


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
