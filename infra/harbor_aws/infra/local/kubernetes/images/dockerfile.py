"""Reads a Dockerfile into instructions. Pure: text in, values out.

``dockerfile-parse`` knows no here-documents and takes their lines for instructions, hence this.
https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"""(?<![<\w])<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_]*)\2(?=[\s;&|)>]|$)""")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)")
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})


class DockerfileError(PermanentError):
    """A Dockerfile says something that is wrong, or that the builder does not do. Nothing was run."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Dockerfile line {line}: {message}")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """The lines of a here-document."""

    name: str
    content: str
    expand: bool
    """Whether variables in it are replaced: its name was not quoted."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    name: str
    """In capitals."""
    line: int
    """Counted from 1."""
    value: str
    """What follows the name and the flags."""
    flags: tuple[tuple[str, str], ...] = ()
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def text(self) -> str:
        """The instruction on one line, for messages."""
        return " ".join([self.name, *(f"--{name}={value}" for name, value in self.flags), *self.value.split()])[:200]

    def json_form(self) -> list[str] | None:
        """The value as a list, if it is written as one."""
        if not self.value.startswith("["):
            return None
        try:
            words = json.loads(self.value)
        except ValueError:
            return None
        return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


@dataclass(slots=True)
class Stage:
    """A FROM and what follows it."""

    start: Instruction
    instructions: list[Instruction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file."""

    arguments: list[Instruction]
    """The ARGs before the first FROM."""
    stages: list[Stage]
    escape: str
    """The character that escapes: a backslash or a backtick."""


def parse_dockerfile(text: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        DockerfileError: it is not one.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape_character(lines)
    arguments: list[Instruction] = []
    stages: list[Stage] = []
    for instruction in _instructions(lines, escape):
        if instruction.name == "FROM":
            stages.append(Stage(instruction))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.name == "ARG":
            arguments.append(instruction)
        else:
            raise DockerfileError(instruction.line, f"{instruction.name} before the first FROM")
    if not stages:
        raise DockerfileError(max(len(lines), 1), "there is no FROM")
    return Dockerfile(arguments, stages, escape)


def _escape_character(lines: list[str]) -> str:
    for line in lines:
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape":
            return directive[2]
    return "\\"


def _instructions(lines: list[str], escape: str) -> Iterator[Instruction]:
    continued = re.compile(re.escape(escape) + r"[ \t]*$")
    index = 0
    while index < len(lines):
        first = index
        parts: list[str] = []
        while index < len(lines):
            line = lines[index]
            index += 1
            if not line.strip() or line.lstrip().startswith("#"):
                if parts:
                    continue  # blank lines and comments may stand among continued lines
                first = index
                continue
            parts.append(continued.sub("", line))
            if not continued.search(line):
                break
        if not parts:
            return
        instruction = _instruction("".join(parts).strip(), first + 1)
        if instruction.name in _WITH_HEREDOCS and instruction.json_form() is None:
            instruction, index = _with_heredocs(instruction, lines, index)
        yield instruction


def _instruction(text: str, line: int) -> Instruction:
    name, *rest = text.split(maxsplit=1)
    value = rest[0] if rest else ""
    flags: list[tuple[str, str]] = []
    while found := _FLAG.match(value):
        flags.append((found[1], found[2] if found[2] is not None else "true"))
        value = value[found.end() :]
    return Instruction(name.upper(), line, value, tuple(flags))


def _with_heredocs(instruction: Instruction, lines: list[str], index: int) -> tuple[Instruction, int]:
    """Add the here-documents that the instruction announces; the lines that follow it begin at ``index``."""
    heredocs: list[Heredoc] = []
    for dash, quote, name in _HEREDOC.findall(instruction.value):
        body: list[str] = []
        while index < len(lines):
            line = lines[index].lstrip("\t") if dash else lines[index]
            index += 1
            if line == name:
                break
            body.append(line)
        else:
            raise DockerfileError(instruction.line, f"the here-document {name} has no end")
        heredocs.append(Heredoc(name, "".join(f"{line}\n" for line in body), expand=not quote))
    found = Instruction(instruction.name, instruction.line, instruction.value, instruction.flags, tuple(heredocs))
    return found, index
