"""Takes secrets out of records of a known form: their fields keep their names, and what they are about stays."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from harbor.models.trial.result import ExceptionInfo, StepResult, TrialResult
from pydantic import BaseModel

from harbor_aws.worker.scrub.tree import scrub_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harbor_aws.worker.scrub.scrubber import Scrubber

_KEPT: Mapping[type[BaseModel], frozenset[str]] = {
    TrialResult: frozenset({"task_name", "trial_name", "task_id", "source", "agent_info"}),
    StepResult: frozenset({"step_name"}),
    ExceptionInfo: frozenset({"exception_type"}),
}
"""What says which trial a result is of, and what decides its ending: a secret that is a word in it must not change it.
An agent writes none of it, but for the classes of its exceptions."""


def scrubbed_result(path: Path, scrubber: Scrubber) -> TrialResult:
    """Harbor's result in a file, without its secrets. Blocks.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none.
    """
    return _scrubbed(path.read_bytes(), scrubber)


def scrub_trial(directory: Path, scrubber: Scrubber) -> set[str]:
    """Take the secrets out of all that a trial left, as :func:`scrub_tree` does, and out of its result as above.

    Raises:
        OSError: something cannot be read or written; what was done stays.
    """
    path = directory / "result.json"
    text = path.read_bytes() if scrubber.needles and path.is_file() else b""
    if found := scrub_tree(directory, scrubber.needles):
        with suppress(ValueError):  # what is no result stays as any other file does
            path.write_text(_scrubbed(text, scrubber).model_dump_json(indent=4))
    return found


def _scrubbed(text: bytes, scrubber: Scrubber) -> TrialResult:
    result = TrialResult.model_validate_json(text)
    return TrialResult.model_validate(scrubbed_record(json.loads(text), result, scrubber))


def scrubbed_record(values: Any, record: Any, scrubber: Scrubber) -> Any:
    """A record's JSON without its secrets.

    Args:
        values: what was dumped.
        record: what it was dumped from: models, or lists of them. In mappings of free form keys are scrubbed as well.
    """
    match values:
        case dict() if isinstance(record, BaseModel):
            kept = _KEPT.get(type(record), frozenset())
            return {
                name: below if name in kept else scrubbed_record(below, getattr(record, name, None), scrubber)
                for name, below in values.items()
            }
        case list() if isinstance(record, list | tuple):
            return [scrubbed_record(*pair, scrubber) for pair in zip(values, record, strict=True)]
        case _:
            return scrubber.data(values)
