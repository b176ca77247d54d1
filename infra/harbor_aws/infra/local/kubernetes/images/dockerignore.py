"""Which files of a build context ``.dockerignore`` leaves out. Pure.

https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath


class Ignored:
    """The patterns of a ``.dockerignore``, the last that matches deciding."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for line in text.removeprefix("\ufeff").splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            ignore = not pattern.startswith("!")
            cleaned = posixpath.normpath(pattern.removeprefix("!").strip().lstrip("/") or ".")
            self._rules.append((re.compile(_expression(cleaned)), ignore))

    def __contains__(self, path: str) -> bool:
        """Whether ``path``, relative to the context, is left out."""
        pure = PurePosixPath(path)
        candidates = [str(pure), *(str(parent) for parent in pure.parents if str(parent) != ".")]
        ignored = False
        for expression, ignore in self._rules:
            if ignored != ignore and any(expression.fullmatch(one) for one in candidates):
                ignored = ignore
        return ignored


def _expression(pattern: str) -> str:
    result, index = "", 0
    while index < len(pattern):
        if pattern.startswith("**/", index):
            result, index = result + "(?:.*/)?", index + 3
        elif pattern.startswith("**", index):
            result, index = result + ".*", index + 2
        elif pattern[index] == "*":
            result, index = result + "[^/]*", index + 1
        elif pattern[index] == "?":
            result, index = result + "[^/]", index + 1
        elif pattern[index] == "[" and "]" in pattern[index:]:
            end = pattern.index("]", index)
            result, index = result + pattern[index : end + 1], end + 1
        elif pattern[index] == "\\" and index + 1 < len(pattern):
            result, index = result + re.escape(pattern[index + 1]), index + 2
        else:
            result, index = result + re.escape(pattern[index]), index + 1
    return result
