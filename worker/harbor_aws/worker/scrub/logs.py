"""What a worker prints, without its secrets."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, override

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from harbor_aws.worker.scrub.scrubber import Scrubber

logger = logging.getLogger(__name__)


class ScrubbingFormatter(logging.Formatter):
    """Scrubs the whole line as it will be written: message, arguments, fields, exception and stack.

    A filter would have to change the record, which handlers of others read as well.
    """

    def __init__(self, inner: logging.Formatter, scrubber: Callable[[], Scrubber]) -> None:
        super().__init__()
        self._inner = inner
        self._scrubber = scrubber

    @override
    def format(self, record: logging.LogRecord) -> str:
        return self._scrubber().text(self._inner.format(record))


def scrub_logs(scrubber: Callable[[], Scrubber]) -> None:
    """From now on: what the process's handlers write. Warnings, and exceptions that nobody caught, become log lines.

    Args:
        scrubber: gives the one to use, in the context of whoever logs.
    """
    for handler in _handlers():
        handler.setFormatter(ScrubbingFormatter(handler.formatter or logging.Formatter(), scrubber))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = lambda uncaught: _log_uncaught(
        uncaught.exc_type, uncaught.exc_value or uncaught.exc_type(), uncaught.exc_traceback
    )


def _handlers() -> set[logging.Handler]:
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    return {handler for each in loggers for handler in each.handlers}


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        logger.critical("An exception was not caught.", exc_info=(kind, error, traceback))


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    told = (unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback) if unraisable.exc_value else None
    logger.error("%s: %r", unraisable.err_msg or "An exception was ignored in", unraisable.object, exc_info=told)
