"""Background processes of the local stack: started apart from the terminal, found again by a mark in their environment.

A pid file can lie (the process died, the number was given again); the mark cannot, and it is inherited, so that
whatever a part started is found as well after the part itself was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MARK = "HARBOR_AWS_LOCAL_PART"
"""Environment variable ``<state directory>:<part>`` of every process of a local stack."""


_PLAIN = ("HARBOR_AWS_", "HOME", "LANG", "LC_", "LD_", "PATH", "PYTHON", "TMPDIR", "TZ", "VIRTUAL_ENV", "XDG_")
"""How the names of variables begin that parts get. A pod's first process is a fork of the part that starts it, and its
environment is there for the pod to read under ``/proc/1``: no place for whatever the user's shell holds."""


def start(part: str, command: Sequence[str], *, directory: Path) -> int:
    """Start a part in a session of its own, its output going to ``<directory>/logs/<part>.log``; its pid."""
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{part}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**_plain(os.environ), MARK: _mark(directory, part)},
        )
    process.returncode = 0  # it outlives us on purpose; nobody is to warn that it was not waited for
    return process.pid


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_PLAIN)}


def find(directory: Path, part: str | None = None) -> list[int]:
    """Pids of the running processes of a stack, or of one part of it."""
    mark = f"{MARK}={_mark(directory, part or '')}".encode()
    return [pid for pid in _pids() if any(_marked(entry, mark, exact=bool(part)) for entry in _environment(pid))]


def is_running(directory: Path, part: str) -> bool:
    return bool(find(directory, part))


def stop(directory: Path, part: str | None = None, *, grace_seconds: float = 10) -> None:
    """TERM, wait, KILL: one part, or all that is left of the stack."""
    for pid in find(directory, part):
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while find(directory, part) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in find(directory, part):
        _signal(pid, signal.SIGKILL)


def log_tail(directory: Path, part: str, *, lines: int = 20) -> str:
    """The last lines that a part printed."""
    try:
        text = (directory / "logs" / f"{part}.log").read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _mark(directory: Path, part: str) -> str:
    return f"{directory.resolve()}:{part}"


def _marked(entry: bytes, mark: bytes, *, exact: bool) -> bool:
    return entry == mark if exact else entry.startswith(mark)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _environment(pid: int) -> list[bytes]:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return [] if state == "Z" else Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
