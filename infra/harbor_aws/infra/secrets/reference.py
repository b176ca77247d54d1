"""A value that says where the secret is: ``secretsmanager:<name or ARN>[#key]``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, override

from harbor_aws.infra.errors import UsageError

PREFIX = "secretsmanager:"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret of AWS Secrets Manager, or one value of a secret that is a JSON object."""

    secret: str
    """Its name or ARN."""
    key: str | None = None
    """The value's key; ``None`` for the secret's whole text."""

    @classmethod
    def found_in(cls, value: str) -> Self | None:
        """The reference that ``value`` is, if it is one.

        Raises:
            UsageError: it begins as one and names no secret.
        """
        if not value.startswith(PREFIX):
            return None
        return cls.parse(value.removeprefix(PREFIX).strip())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of ``<name or ARN>[#key]``.

        Raises:
            UsageError: a part is empty.
        """
        secret, has_key, key = text.partition("#")
        if not secret or (has_key and not key):
            raise UsageError(f"A reference is {PREFIX}NAME or {PREFIX}NAME#KEY, with a name or an ARN, not {text!r}.")
        return cls(secret, key or None)

    @override
    def __str__(self) -> str:
        return PREFIX + self.secret + (f"#{self.key}" if self.key else "")
