"""How commands end when they cannot do what they were asked: one sentence on stderr and an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
import termios
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from harbor_aws.producer.cli.app import Command

FAILED = 1
MISUSED = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def run(load: Callable[[], Command], *, name: str) -> None:
    """Run a program's command line and exit as its errors say. SIGTERM and SIGHUP end it as Ctrl-C does, cleaning up.

    Args:
        load: gives the command, which may take seconds, so that Ctrl-C comes then as well.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's
        signal.signal(signal.SIGHUP, _hang_up)
    try:
        load()(prog_name=name)
    except HarborAwsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def exit_code(error: HarborAwsError) -> int:
    """2 for what was asked wrongly, 130 after Ctrl-C and the like, 1 for the rest."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        return INTERRUPTED
    return MISUSED if isinstance(error, UsageError) else FAILED


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    """The terminal is closed. The kernel and the shell may both say so, and the second must not cut the cleaning up."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for descriptor in (1, 2):
        if _is_lost_terminal(descriptor):  # to write there is an error from now on, which would cut it as well
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)
    raise KeyboardInterrupt


def _is_lost_terminal(descriptor: int) -> bool:
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
