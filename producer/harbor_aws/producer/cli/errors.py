"""How commands end when they cannot do what they were asked: one sentence on stderr and an exit code, no traceback."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.producer.cli.app import Command

FAILED = 1
MISUSED = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def run(load: Callable[[], Command], *, name: str) -> None:
    """Run a program's command line and exit as its errors say. SIGTERM ends it as Ctrl-C does, cleaning up.

    Args:
        load: gives the command, which may take seconds, so that Ctrl-C comes then as well.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        load()(prog_name=name)
    except HarborAwsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def exit_code(error: HarborAwsError) -> int:
    """2 for what was asked wrongly, 130 after Ctrl-C, 1 for the rest."""
    if isinstance(error.__cause__, KeyboardInterrupt):
        return INTERRUPTED
    return MISUSED if isinstance(error, UsageError) else FAILED
