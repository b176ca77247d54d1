"""The bundled example dataset: Harbor tasks that run offline on a bare Debian root file system.

As varied as real ones, so that a run of all of them with the ``oracle`` agent shows that a stack works.
Data and where it lies, nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict, cast


class ExpectedResult(TypedDict):
    """What the ``oracle`` agent gets for a task."""

    rewards: dict[str, float]
    """The rewards of the committed result, every key of them."""

    exception: str | None
    """The class name of the committed result's exception; ``None`` when it has none."""


def tasks_directory() -> Path:
    """The directory of the tasks, one directory a task, as ``harbor run -p`` takes it."""
    return Path(__file__).parent / "tasks"


def expected_rewards() -> dict[str, ExpectedResult]:
    """Task name (that of its directory, and of ``TrialResult.task_name``) to what the ``oracle`` agent gets for it."""
    text = (Path(__file__).parent / "expected.json").read_text(encoding="utf-8")
    return cast("dict[str, ExpectedResult]", json.loads(text))
