"""What the tests under chaos met: printed at the end of the session, and kept in ``build/chaos-connections.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Report:
    """Counts of each test, by its name."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}

    def add(self, test: str, counts: dict[str, Any]) -> None:
        """Keep what a test counted; what it counted before is added to."""
        self.tests.setdefault(test, {}).update(counts)

    def lines(self) -> list[str]:
        """For people."""
        return [f"{test}: {_sentence(counts)}" for test, counts in self.tests.items()]

    def write(self, path: Path) -> None:
        """For programs. Tests that did not run this time keep what is there."""
        try:
            known = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            known = {}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(known | self.tests, indent=2, sort_keys=True) + "\n")


def _sentence(counts: dict[str, Any]) -> str:
    plain = [f"{value} {name}" for name, value in counts.items() if not isinstance(value, dict)]
    faults = [
        f"{name}: " + ", ".join(f"{count} {what}" for what, count in sorted(value.items()))
        for name, value in counts.items()
        if isinstance(value, dict)
    ]
    return "; ".join([*plain, *faults])
