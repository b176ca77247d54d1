"""A worker's secrets: read once, when it begins, into its environment, where Harbor and agents look for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.secrets.files import read_secrets
from harbor_aws.infra.secrets.manager import SecretUnavailableError
from harbor_aws.infra.secrets.names import DIRECTORIES_VARIABLE, is_setting
from harbor_aws.infra.secrets.reference import SecretReference

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


class UnreadableSecretsError(UsageError):
    """Some variables refer to what cannot be read; a worker without them would turn trials into agents' failures."""


class Reader(Protocol):
    """What is behind references: :class:`~harbor_aws.infra.secrets.manager.SecretsManager`."""

    def read(self, reference: SecretReference) -> str: ...


def load_secrets(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Put the secrets of the worker's directories into its environment, where they win.

    Returns:
        Those that were given as secrets, which are in the last directory: of others their names must tell.

    Raises:
        UsageError: one cannot be read.
    """
    given: dict[str, str] = {}
    for directory in environ.get(DIRECTORIES_VARIABLE, "").split(os.pathsep):
        given = read_secrets(Path(directory)) if directory else {}
        environ.update(given)
    return {name: value for name, value in given.items() if not is_setting(name)}


def resolve_references(environ: MutableMapping[str, str], reader: Reader) -> dict[str, str]:
    """Put what variables refer to in the references' place; which those are.

    Raises:
        UnreadableSecretsError: names every variable whose secret cannot be read, and says what to do.
    """
    resolved, troubles = {}, []
    for name, reference in _references(environ).items():
        try:
            resolved[name] = reader.read(reference)
        except SecretUnavailableError as error:
            troubles.append(f"{name} refers to {reference}, which cannot be read: {error}")
        else:
            if "\0" in resolved[name]:
                troubles.append(f"{name} refers to {reference}, which holds a NUL: no variable can.")
    if troubles:
        raise UnreadableSecretsError("\n".join(["The worker does not begin without its secrets.", *troubles]))
    environ.update(resolved)
    return resolved


def _references(environ: Mapping[str, str]) -> dict[str, SecretReference]:
    found = {name: SecretReference.found_in(value) for name, value in sorted(environ.items())}
    return {name: reference for name, reference in found.items() if reference}
