"""Amounts of resources, such as ``250m`` and ``2Gi``. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from harbor_aws.infra.local.kubernetes.objects.api_errors import FieldError

_RULE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([KMGTPE]i|[numkMGTPE]?)")
_UNITS = {
    unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}


def parse_quantity(value: object) -> Decimal:
    """An amount in its own unit: cores, bytes.

    Raises:
        ValueError: it is not an amount.
    """
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        raise ValueError(_RULE)
    number, unit = found.groups()
    return Decimal(number) * _UNITS[unit]


def check_resources(resources: dict[str, Any], field: str) -> list[FieldError]:
    """Whether a container's requests and limits are amounts, and no request is above its limit."""
    errors: list[FieldError] = []
    amounts: dict[tuple[str, str], Decimal] = {}
    for kind in ("limits", "requests"):
        for name, value in (resources.get(kind) or {}).items():
            try:
                amount = parse_quantity(value)
            except ValueError:
                errors.append(FieldError.wrong(f"{field}.{kind}.{name}", value, _RULE))
                continue
            amounts[kind, name] = amount
            if amount < 0:
                errors.append(FieldError.wrong(f"{field}.{kind}.{name}", value, "must be greater than or equal to 0"))
    for (kind, name), amount in amounts.items():
        limit = amounts.get(("limits", name))
        if kind == "requests" and limit is not None and amount > limit:
            value = resources["requests"][name]
            why = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            errors.append(FieldError.wrong(f"{field}.requests", value, why))
    return errors
