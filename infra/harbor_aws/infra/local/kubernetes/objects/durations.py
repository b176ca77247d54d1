"""Ages as kubectl shows them."""

from __future__ import annotations

import time

from harbor_aws.infra.local.kubernetes.objects.names import parse_timestamp

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 31_536_000


def age(timestamp: str | None) -> str:
    """How long ago a moment was."""
    return "<unknown>" if not timestamp else human_duration(int(time.time() - parse_timestamp(timestamp)))


def human_duration(seconds: int) -> str:
    """As Kubernetes' ``duration.HumanDuration``: two units at most, fewer the longer it is."""
    if seconds < 0:
        return "0s"
    for limit, unit, name, smaller, smaller_name in (
        (2 * _MINUTE, 1, "s", 0, ""),
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    ):
        if seconds < limit:
            rest = seconds % unit // smaller if smaller else 0
            return f"{seconds // unit}{name}" + (f"{rest}{smaller_name}" if rest else "")
    return f"{seconds // _YEAR}y"
