"""Follows a job until each of its trials has ended."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.queues import Queue
    from harbor_aws.producer.overview import JobReader, Overview

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 2.0
"""Time between two looks."""

STRANDED_SECONDS = 90.0
"""How long the queue must be empty before trials without an ending are given up: SQS's counts lag by up to a minute.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-attributes.html"""

PATIENCE_SECONDS = 900.0
"""How long looks may fail, one after the other, before following is given up."""


class Patience:
    """Bears that looks fail for a while; says so once, until they work again."""

    def __init__(self, seconds: float = PATIENCE_SECONDS) -> None:
        self._seconds = seconds
        self._failing_since: float | None = None

    def look_failed(self, error: TransientError) -> None:
        """Raise ``error`` if it has lasted too long."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            logger.warning("Looking failed, and is tried again for %.0f minutes: %s", self._seconds / 60, error)
        elif now - self._failing_since >= self._seconds:
            raise error

    def look_worked(self) -> None:
        self._failing_since = None


class StrandedError(HarborAwsError):
    """The queue is empty, yet trials have no ending: their messages went to the dead-letter queue, or were purged."""


def follow(
    reader: JobReader,
    queue: Queue,
    *,
    on_look: Callable[[Overview], None],
    interval_seconds: float = INTERVAL_SECONDS,
    stranded_seconds: float = STRANDED_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Overview:
    """Look at a job until every trial has a result or is a dead letter; the last look.

    Args:
        on_look: shows a look; if it raises :class:`TransientError` itself, the look counts as failed.

    Raises:
        StrandedError: the rest will never end by itself.
        TransientError: no look has worked for ``patience_seconds``.
    """
    patience = Patience(patience_seconds)
    empty_since: float | None = None
    while True:
        try:
            overview = reader.read()
            on_look(overview)
            if overview.ended >= overview.trials:
                return overview
            is_empty = not queue.counts().total
        except TransientError as error:
            patience.look_failed(error)
            empty_since = None
            time.sleep(interval_seconds)
            continue
        patience.look_worked()
        now = time.monotonic()
        empty_since = (empty_since or now) if is_empty else None
        if empty_since is not None and now - empty_since >= stranded_seconds:
            raise StrandedError(
                f"{overview.trials - overview.ended} of {overview.trials} trials of {overview.job} have no ending, and "
                f"no message of theirs is in the queue. Look into the dead-letter queue: `harbor-aws dlq list`."
            )
        time.sleep(interval_seconds)
