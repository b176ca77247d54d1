"""What a task's Dockerfile says about the container that is made from it. Pure but for reading the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dockerfile_parse import DockerfileParser

if TYPE_CHECKING:
    from pathlib import Path


def final_user(dockerfile: Path) -> str | None:
    """The user that the last stage's ``USER`` names, or that of the stage it is based on; ``None`` if none does.

    A group (``USER name:group``) is left out. A user that comes from the base image is not visible here.
    """
    if not dockerfile.is_file():
        return None
    users: dict[str, str | None] = {}
    stage, user = "", None
    for instruction in DockerfileParser(path=str(dockerfile)).structure:
        value = instruction["value"].strip()
        if instruction["instruction"] == "FROM":
            words = [word for word in value.split() if not word.startswith("--")]
            stage = words[2].lower() if len(words) > 2 else ""
            user = users.get(words[0].lower()) if words else None
        elif instruction["instruction"] == "USER":
            user = value.split(":")[0]
        users[stage] = user
    return user or None
