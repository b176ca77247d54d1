"""A terminal that is closed ends a command as Ctrl-C does."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, cast

import pytest

from harbor_aws.producer.cli.errors import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.producer.cli.app import Command

TALKATIVE = """
import signal, sys
from pathlib import Path
from harbor_aws.producer.cli.errors import run

def command(prog_name):
    try:
        print("ready", flush=True)
        signal.pause()
    finally:
        print("cleaning up", flush=True)
        Path(sys.argv[1]).touch()

run(lambda: command, name="program")
"""


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """What a command does to signals is undone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Closing:
    """A command whose terminal is closed; the shell says so once more while it cleans up."""

    cleaned_up = False

    def __call__(self, prog_name: str) -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            self.cleaned_up = True


def test_it_cleans_up() -> None:
    """130, and a second SIGHUP does not cut it."""
    command = Closing()
    with pytest.raises(SystemExit) as ended:
        run(lambda: cast("Command", command), name="program")
    assert (ended.value.code, command.cleaned_up) == (130, True)


def test_nohup_is_heeded() -> None:
    """Who started it so that it outlives the terminal has it outlive the terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command = Closing()
    run(lambda: cast("Command", command), name="program")
    assert command.cleaned_up


def test_a_terminal_that_is_gone_does_not_cut_the_cleaning_up(tmp_path: Path) -> None:
    """What is said meanwhile is lost, and nothing else."""
    ours, terminal = os.openpty()

    def control() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    program = [sys.executable, "-c", TALKATIVE, str(tmp_path / "clean")]
    process = subprocess.Popen(program, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=control)
    os.close(terminal)
    assert os.read(ours, 5) == b"ready"
    os.close(ours)
    assert process.wait(30) == 130
    assert (tmp_path / "clean").exists()
