"""Plays a pod's shells on this machine, for the scripts that run commands."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harbor_aws.worker.exec.command_script import Command, start_script
from harbor_aws.worker.exec.end_script import end_argv
from harbor_aws.worker.exec.follow_script import attach_script
from harbor_aws.worker.exec.places import OUTPUT_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUSYBOX = shutil.which("busybox")

SHELLS = [
    "sh",
    "bash",
    pytest.param("busybox", marks=pytest.mark.skipif(BUSYBOX is None, reason="there is no busybox on this machine")),
]


class Pod:
    """Plays a pod whose files are in a directory, and whose ``sh`` is one of this machine's.

    With BusyBox's the pod has nothing else, so no bash either.
    """

    def __init__(self, shell: str, directory: Path) -> None:
        self.shell = shell
        self.directory = directory
        self.command_id = secrets.token_hex(16)
        self.forever = 10**8 + secrets.randbelow(10**8)
        """Seconds that nobody else's process on this machine sleeps."""
        self.env = dict(os.environ)
        if shell == "busybox":
            self.shell = str(_applets(directory.parent / "bin") / "sh")
            self.env["PATH"] = str(directory.parent / "bin")

    def here(self, script: bytes) -> bytes:
        return script.replace(OUTPUT_DIRECTORY.encode(), str(self.directory).encode())

    def run(self, script: bytes) -> tuple[str, str]:
        """What a script writes to stdout and stderr, to the end of the command, its markers in brackets."""
        done = subprocess.run(
            self.shell,
            input=self.here(script),
            capture_output=True,
            timeout=30,
            check=False,
            start_new_session=True,
            env=self.env,
        )
        return self.readable(done.stdout), self.readable(done.stderr)

    def readable(self, data: bytes) -> str:
        head, *rest = data.decode().split(f"harbor-aws:{self.command_id}:")
        text = head + "".join("[{}:{}]{}".format(*piece.split(":", 2)) for piece in rest)
        before, end, after = text.partition("[end:")
        return before + end + after.partition("]")[0] + ("]" if end else "")

    def start(self, text: str, *, timeout_seconds: float | None = None) -> bytes:
        return start_script(Command(text, {}), self.command_id, timeout_seconds=timeout_seconds)

    def begin(self, script: bytes) -> subprocess.Popen[bytes]:
        """Start a script and leave it to itself."""
        leader = subprocess.Popen(
            self.shell,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=self.env,
        )
        assert leader.stdin
        leader.stdin.write(self.here(script))
        leader.stdin.flush()
        return leader

    def attach(self, *, stdout_bytes: int = 0, stderr_bytes: int = 0) -> tuple[str, str]:
        return self.run(attach_script(self.command_id, stdout_bytes=stdout_bytes, stderr_bytes=stderr_bytes))

    def end(self, *, slowly: tuple[str, str] | None = None) -> int:
        """End the command; where the pod is to be a busy one, a piece of the script is replaced by one with a pause."""
        _, _, script, *arguments = end_argv(self.command_id)
        if slowly:
            assert script.count(slowly[0]) == 1
            script = script.replace(*slowly)
        argv = [self.shell, "-c", self.here(script.encode()).decode(), *arguments]
        return subprocess.run(argv, timeout=30, check=False, env=self.env).returncode

    def sleepers(self) -> list[int]:
        """Pids of what sleeps forever."""
        found = subprocess.run(["pgrep", "-f", f"sleep {self.forever}"], capture_output=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def journal(self) -> str:
        return self._text("run")

    def printed(self) -> str:
        return self._text("out")

    def _text(self, suffix: str) -> str:
        path = self.directory / f"{self.command_id}.{suffix}"
        return path.read_text() if path.exists() else ""


def _applets(directory: Path) -> Path:
    """A directory with nothing but BusyBox's programs."""
    assert BUSYBOX is not None
    directory.mkdir()
    for applet in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        (directory / applet).symlink_to(BUSYBOX)
    return directory


@contextmanager
def played(shell: str, directory: Path) -> Iterator[Pod]:
    """A pod whose shell is one of :data:`SHELLS`, of which nothing sleeps on."""
    pod = Pod(shell, directory)
    yield pod
    for pid in pod.sleepers():
        os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def close(process: subprocess.Popen[bytes]) -> None:
    """Be gone as a client is whose connection was cut, the process killed as some container runtimes do."""
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream
        stream.close()
