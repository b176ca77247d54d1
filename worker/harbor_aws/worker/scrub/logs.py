"""What a worker prints, without its secrets."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, override

if TYPE_CHECKING:
    from types import TracebackType

    from harbor_aws.worker.scrub.scrubber import Scrubber

logger = logging.getLogger(__name__)


class ScrubbingFormatter(logging.Formatter):
    """Scrubs the whole line as it will be written: message, arguments, fields, exception and stack.

    A filter would have to change the record, which handlers of others read as well.
    """

    def __init__(self, inner: logging.Formatter, scrubber: Scrubber) -> None:
        super().__init__()
        self._inner = inner
        self._scrubber = scrubber

    @override
    def format(self, record: logging.LogRecord) -> str:
        return self._scrubber.text(self._inner.format(record))


def scrub_logs(scrubber: Scrubber) -> None:
    """From now on: of what the process's handlers write; exceptions that nobody caught become log lines."""
    for handler in _handlers():
        handler.setFormatter(ScrubbingFormatter(handler.formatter or logging.Formatter(), scrubber))
    sys.excepthook = _log_uncaught
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
