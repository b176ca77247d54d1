"""Follows a job until each of its trials has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.queues import Queue
    from harbor_aws.producer.overview import JobReader, Overview

INTERVAL_SECONDS = 2.0
"""Time between two looks."""

STRANDED_SECONDS = 90.0
"""How long the queue must be empty before trials without an ending are given up: SQS's counts lag by up to a minute.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-attributes.html"""


class StrandedError(HarborAwsError):
    """The queue is empty, yet trials have no ending: their messages went to the dead-letter queue, or were purged."""


def follow(
    reader: JobReader,
    queue: Queue,
    *,
    on_look: Callable[[Overview], None],
    interval_seconds: float = INTERVAL_SECONDS,
    stranded_seconds: float = STRANDED_SECONDS,
) -> Overview:
    """Look at a job until every trial has a result or is a dead letter; the last look.

    Raises:
        StrandedError: the rest will never end by itself.
    """
    empty_since: float | None = None
    while True:
        overview = reader.read()
        on_look(overview)
        if overview.ended >= overview.trials:
            return overview
        now = time.monotonic()
        empty_since = None if queue.counts().total else empty_since or now
        if empty_since is not None and now - empty_since >= stranded_seconds:
            raise StrandedError(
                f"{overview.trials - overview.ended} of {overview.trials} trials of {overview.job} have no ending, and "
                f"no message of theirs is in the queue. Look into the dead-letter queue: `harbor-aws status`."
            )
        time.sleep(interval_seconds)
