"""Commands whose every byte and exit code is known beforehand. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.worker.exec.command_script import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEDGER = "/chaos/ledger"
"""Every command of a pod appends its number to this file, by one write: who ran, and how often."""

EXIT_CODES = (0, 0, 0, 1, 2, 7, 42, 100, 124, 125, 126, 127, 128, 129, 130, 137, 143, 200, 254, 255)

PREPARATION = f"mkdir /chaos && chmod 777 /chaos && : >{LEDGER} && chmod 666 {LEDGER}"


@dataclass(frozen=True)
class Expected:
    """A command, and what must come of it."""

    number: int
    command: Command
    exit_code: int
    stdout: bytes
    stderr: bytes
    watched: bool = False
    """Whether its output is to be taken as it comes, too."""

    def __str__(self) -> str:
        text = self.command.text
        shown = text if len(text) < 300 else f"{text[:150]} … {text[-100:]}"
        return f"command {self.number} as {self.command.user or 'root'}: {shown!r}"


def workload(seed: int | str, *, count: int, users: Sequence[str | None], largest_lines: int) -> list[Expected]:
    """The same commands for the same arguments.

    Args:
        users: whom commands run as.
        largest_lines: of output; a line has about 16 bytes.
    """
    draw = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [_command(draw, number, users=users, largest_lines=largest_lines) for number in range(count)]


def _command(draw: random.Random, number: int, *, users: Sequence[str | None], largest_lines: int) -> Expected:
    kind = draw.choices(list(_KINDS), list(_KINDS.values()))[0]
    script, stdout, stderr = kind(draw, number, largest_lines)
    ending, exit_code = _ending(draw)
    value = f"value {number} 'ü\"\n$x"
    text = f"echo {number} >>{LEDGER}\n{script}\nprintf '%s' \"$VALUE\" >&2\n{ending}"
    return Expected(
        number=number,
        command=Command(text, {"VALUE": value}, cwd=draw.choice((None, "/tmp")), user=draw.choice(users)),
        exit_code=exit_code,
        stdout=stdout,
        stderr=stderr + value.encode(),
        watched=draw.random() < 0.4,
    )


def _ending(draw: random.Random) -> tuple[str, int]:
    if draw.random() < 0.08:
        name, number = draw.choice((("KILL", 9), ("TERM", 15), ("HUP", 1)))
        return f"kill -{name} $$", 128 + number
    code = draw.choice(EXIT_CODES)
    return f"exit {code}", code


Piece = tuple[str, bytes, bytes]
"""Script, and what it writes to stdout and to stderr."""


def _silent(draw: random.Random, number: int, largest_lines: int) -> Piece:
    return ":", b"", b""


def _words(draw: random.Random, number: int, largest_lines: int) -> Piece:
    return (
        f"printf 'out {number}'; printf 'err {number}\\n' >&2; printf '\\377\\000\\303.'",
        b"out %d\xff\0\xc3." % number,
        b"err %d\n" % number,
    )


def _lines(draw: random.Random, number: int, largest_lines: int) -> Piece:
    """A lot of output, no two lines of which are the same."""
    first, count = number * 1_000_000, int(largest_lines ** draw.random())
    script = f"seq {first} {first + count - 1} | sed 's/$/ é☃😀/'"
    out = "".join(f"{line} é☃😀\n" for line in range(first, first + count)).encode()
    if draw.random() < 0.3:
        return f"{{ {script}; }} >&2", b"", out
    return script, out, b""


def _both(draw: random.Random, number: int, largest_lines: int) -> Piece:
    """Much on both streams at once."""
    count = int((largest_lines / 2) ** draw.random())
    script = f"seq 1 {count} & seq -w {number} {number + count - 1} >&2; wait"
    width = len(str(number + count - 1))
    return (
        script,
        "".join(f"{line}\n" for line in range(1, count + 1)).encode(),
        "".join(f"{line:0{width}}\n" for line in range(number, number + count)).encode(),
    )


def _slow(draw: random.Random, number: int, largest_lines: int) -> Piece:
    """Output now and then, over a second or three."""
    steps = draw.randrange(3, 9)
    script = f'i=0; while [ $i -lt {steps} ]; do echo "step $i of {number}"; echo $i >&2; sleep 0.3; i=$((i + 1)); done'
    return (
        script,
        "".join(f"step {i} of {number}\n" for i in range(steps)).encode(),
        "".join(f"{i}\n" for i in range(steps)).encode(),
    )


def _long_text(draw: random.Random, number: int, largest_lines: int) -> Piece:
    """A command of up to a mebibyte, of which every byte is looked at."""
    size = int((1024 * 1024) ** draw.uniform(0.7, 1))
    content = draw.randbytes(size // 2).hex() + "é"
    return f"x='{content}'\nprintf %s \"$x\"", content.encode(), b""


_KINDS: dict[Callable[[random.Random, int, int], Piece], float] = {
    _silent: 1,
    _words: 3,
    _lines: 3,
    _both: 1,
    _slow: 2,
    _long_text: 0.6,
}
