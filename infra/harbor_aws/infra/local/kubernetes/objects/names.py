"""Names of objects, and the words and numbers that Kubernetes gives them."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime
from typing import Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own: without vowels, so that no word appears by chance."""

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)


def generate_name(prefix: str) -> str:
    """A name for ``generateName``: the prefix, cut to fit, and five random characters."""
    return prefix[:58] + "".join(random.choices(_ALPHABET, k=5))  # noqa: S311 - a name, not a secret


def check_subdomain(field: str, name: object) -> list[FieldError]:
    if not isinstance(name, str) or not re.fullmatch(_SUBDOMAIN, name):
        return [FieldError.wrong(field, name, _SUBDOMAIN_RULE)]
    if len(name) > 253:
        return [FieldError.wrong(field, name, "must be no more than 253 characters")]
    return []


def check_label_name(field: str, name: object) -> list[FieldError]:
    if not isinstance(name, str) or not re.fullmatch(_LABEL, name):
        return [FieldError.wrong(field, name, _LABEL_RULE)]
    if len(name) > 63:
        return [FieldError.wrong(field, name, "must be no more than 63 characters")]
    return []


def check_labels(field: str, labels: Any) -> list[FieldError]:
    if labels is None:
        return []
    if not isinstance(labels, dict):
        return [FieldError.wrong(field, labels, "must be a map of strings")]
    errors = []
    for value in labels.values():
        if not isinstance(value, str) or not re.fullmatch(_LABEL_VALUE, value):
            errors.append(FieldError.wrong(field, value, _LABEL_VALUE_RULE))
        elif len(value) > 63:
            errors.append(FieldError.wrong(field, value, "must be no more than 63 characters"))
    return errors


def timestamp(seconds: float | None = None) -> str:
    """A moment as Kubernetes writes it, whole seconds; ``seconds`` since the epoch, default now."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
