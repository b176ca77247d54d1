"""Makes the smallest Harbor tasks that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

IMAGE_TOML = '[environment]\ndocker_image = "debian:bookworm"\n'


def make_task(
    parent: Path, name: str = "tiny", *, toml: str = IMAGE_TOML, files: Mapping[str, str] | None = None
) -> Path:
    """A valid single-step task called ``name`` below ``parent``, with more files or other contents if given."""
    contents = {
        "task.toml": toml,
        "instruction.md": f"Do {name}.\n",
        "environment/.keep": "",
        "tests/test.sh": "#!/bin/bash\necho 1 > /logs/verifier/reward.txt\n",
        "solution/solve.sh": "#!/bin/bash\ntrue\n",
        **(files or {}),
    }
    for path, content in contents.items():
        (parent / name / path).parent.mkdir(parents=True, exist_ok=True)
        (parent / name / path).write_text(content)
    return parent / name
