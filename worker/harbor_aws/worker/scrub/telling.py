"""Which names tell that a value is a secret, and which values are too ordinary to be one. Pure."""

from __future__ import annotations

import re

from harbor.utils.env import is_sensitive_env_key

LEAST_CHARACTERS = 8
"""Of a value that is looked for: shorter ones are words, and would be found everywhere. Harbor's own logs, too, show
nothing of values up to this length (``harbor.utils.env.redact_sensitive_value``)."""

LONG_CHARACTERS = 16
"""Of a value that is no word, whatever it is made of."""

_NO_SECRETS_KEY = re.compile(r"AUTHOR(?!I)", re.IGNORECASE)
"""What Harbor takes for AUTH, as in ``GIT_AUTHOR_NAME``; AUTHORIZATION is another matter."""

_NAME_OF_A_PLACE = re.compile(r"(FILE|PATH|DIR|SOCK|HOST|URL|URI|ENDPOINT|DOMAIN)\Z", re.IGNORECASE)

_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://[^\s@?]+|([a-z0-9-]{1,63}\.)+[a-z]{2,}(:\d+)?|/[\w./-]+")
"""A URL without a user or a query, a host, or a path. A token with dots has capitals."""

_CLASSES = (re.compile(r"[^\W\d_]"), re.compile(r"\d"), re.compile(r"[\W_]"))
"""Letters, digits and others."""


def tells_of_secret(name: str, value: str) -> bool:
    """Whether a value under this name is a secret: Harbor's rule, but for authors and for where secrets are kept."""
    if not is_sensitive_env_key(_NO_SECRETS_KEY.sub("", name)):
        return False
    return not (_NAME_OF_A_PLACE.search(name) and is_place(value))


def is_word(value: str) -> bool:
    """Whether a value would be found in texts that have nothing to do with it: short, or letters or digits alone.

    For values of which nothing but a name tells that they are secrets: ``PGPASSWORD=postgres``.
    """
    if len(value) >= LONG_CHARACTERS:
        return False
    return len(value) < LEAST_CHARACTERS or sum(bool(each.search(value)) for each in _CLASSES) < 2


def is_place(value: str) -> bool:
    """Whether a value is the public address of something."""
    return bool(_PLACE.fullmatch(value))
