"""Words of a Dockerfile: split as a shell would, with variables replaced as Docker does. Pure.

https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class WordError(ValueError):
    """A word that cannot be read; the message says why."""


def split_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words of ``text``, quotes taken off and variables replaced.

    Raises:
        WordError: a quote or a brace has no end, or a replacement of an unknown kind.
    """
    return _Reader(text, variables, escape).words()


def replace_variables(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """``text`` as one word: spaces stay, quotes are taken off, variables are replaced.

    Raises:
        WordError: as :func:`split_words`.
    """
    return _Reader(text, variables, escape).word(stop="")


def replace_only_variables(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """``text`` with its quotes, its variables replaced: a here-document's content."""
    return _Reader(text, variables, escape).word(stop="", quotes=False)


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._variables = variables
        self._escape = escape
        self._position = 0

    def words(self) -> list[str]:
        found: list[str] = []
        while True:
            while self._peek().isspace():
                self._position += 1
            if not self._peek():
                return found
            found.append(self.word(stop=" \t\n"))

    def word(self, *, stop: str, quotes: bool = True) -> str:
        """Read up to one of the characters ``stop``, which stays."""
        result = ""
        while (character := self._peek()) and character not in stop:
            self._position += 1
            if character == "'" and quotes:
                result += self._until("'")
            elif character == '"' and quotes:
                result += self._double_quoted()
            elif character == self._escape and self._peek():
                escaped = self._next()
                result += escaped if quotes or escaped in f"${self._escape}" else character + escaped
            elif character == "$":
                result += self._variable()
            else:
                result += character
        return result

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _next(self) -> str:
        self._position += 1
        return self._text[self._position - 1]

    def _until(self, quote: str) -> str:
        end = self._text.find(quote, self._position)
        if end < 0:
            raise WordError(f"a {quote} has no end")
        found = self._text[self._position : end]
        self._position = end + 1
        return found

    def _double_quoted(self) -> str:
        result = ""
        while True:
            if not self._peek():
                raise WordError('a " has no end')
            character = self._next()
            if character == '"':
                return result
            if character == "$":
                result += self._variable()
            elif character == self._escape and self._peek() and self._peek() in f'"${self._escape}':
                result += self._next()
            else:
                result += character

    def _variable(self) -> str:
        if self._peek() == "{":
            self._position += 1
            return self._braced()
        name = _NAME.match(self._text, self._position)
        if name is None:
            return "$"
        self._position = name.end()
        return self._variables.get(name[0], "")

    def _braced(self) -> str:
        name = _NAME.match(self._text, self._position)
        if name is None:
            raise WordError("${ without a name")
        self._position = name.end()
        value = self._variables.get(name[0])
        operator = "" if self._peek() == "}" else self._next() if self._peek() else ""
        colon = operator == ":"
        if colon and self._peek():
            operator = self._next()
        other = self.word(stop="}") if operator else ""
        if self._peek() != "}":
            raise WordError(f"${{{name[0]} has no end")
        self._position += 1
        given = bool(value) if colon else value is not None
        match operator:
            case "" | "-":
                return value if value is not None and given else value or other
            case "+":
                return other if given else ""
            case "?":
                if not given:
                    raise WordError(f"{name[0]}: {other or 'is not set'}")
                return value or ""
        raise WordError(f"${{{name[0]}{operator}…}} is not supported")
