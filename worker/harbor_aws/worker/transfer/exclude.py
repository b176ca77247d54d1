"""Which members are wanted, by the rules of ``tar --exclude``. Pure.

For images whose tar has no such option, or has it with other rules: GNU's are the ones that Harbor's tasks are written
for (https://www.gnu.org/software/tar/manual/html_node/controlling-pattern_002dmatching.html). A pattern matches from
the beginning of a name or from behind any ``/`` in it, up to its end or to any ``/``; ``*`` and ``?`` match ``/`` too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def not_excluded(patterns: Iterable[str]) -> Callable[[bytes], bool]:
    """Tells of a member's name, relative to the directory, whether it is wanted."""
    alternatives = [_expression(pattern.encode(errors="surrogateescape")) for pattern in patterns]
    if not alternatives:
        return lambda _: True
    matches = re.compile(rb"(?:^|/)(?:%b)(?:/|$)" % b"|".join(alternatives), re.DOTALL)
    return lambda name: matches.search(b"./" + name) is None


def named(names: Iterable[bytes]) -> Callable[[bytes], bool]:
    """Tells of a member's name whether it is one of these, or below one; the empty name is the directory itself."""
    chosen = frozenset(names)
    if b"" in chosen:
        return lambda _: True
    longest = max((name.count(b"/") for name in chosen), default=0)

    def wanted(name: bytes) -> bool:
        parts = name.split(b"/")
        return any(b"/".join(parts[:count]) in chosen for count in range(1, min(len(parts), longest + 1) + 1))

    return wanted


def _expression(pattern: bytes) -> bytes:
    expression, position = b"", 0
    while position < len(pattern):
        part, position = _part(pattern, position)
        expression += part
    return expression


def _part(pattern: bytes, position: int) -> tuple[bytes, int]:
    """The expression for what begins at a position of a pattern, and where the next begins."""
    character = pattern[position : position + 1]
    match character:
        case b"*":
            return b".*", position + 1
        case b"?":
            return b".", position + 1
        case b"\\" if position + 1 < len(pattern):
            return re.escape(pattern[position + 1 : position + 2]), position + 2
        case b"[":
            found = _BRACKETS.match(pattern, position)
            if found:
                return _set(found[2], negated=bool(found[1])), found.end()
    return re.escape(character), position + 1


_BRACKETS = re.compile(rb"\[([!^]?)((?:\[:[a-z]+:\]|\]|\\.|[^\]\\])(?:\[:[a-z]+:\]|\\.|[^\]\\])*)\]", re.DOTALL)

_CLASSES = {
    b"alpha": rb"a-zA-Z",
    b"digit": rb"0-9",
    b"alnum": rb"a-zA-Z0-9",
    b"upper": rb"A-Z",
    b"lower": rb"a-z",
    b"space": rb"\s",
    b"xdigit": rb"0-9a-fA-F",
    b"punct": rb"!-/:-@\[-`{-~",
}
"""In the C locale, which is the one that the pod's tar gets."""


def _set(content: bytes, *, negated: bool) -> bytes:
    inside, position = b"", 0
    while position < len(content):
        character = content[position : position + 1]
        known = re.match(rb"\[:([a-z]+):\]", content[position:])
        if known and known[1] in _CLASSES:
            inside += _CLASSES[known[1]]
            position += known.end()
            continue
        if character == b"\\" and position + 1 < len(content):
            position += 1
            character = content[position : position + 1]
            inside += re.escape(character)
        elif character == b"-" and 0 < position < len(content) - 1:
            inside += b"-"
        else:
            inside += re.escape(character)
        position += 1
    return b"[%b%b]" % (b"^" if negated else b"", inside)
