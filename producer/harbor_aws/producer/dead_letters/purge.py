"""Deletes dead letters for good. Their trials stay dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.producer.dead_letters.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from harbor_aws.infra.queues import Queue


def purge(queue: Queue, ids: Collection[str], *, on_letters: Callable[[int], None]) -> int:
    """Delete the letters of these ids; how many were there. None that came meanwhile is touched."""
    left = set(ids)
    with Sweep(queue) as sweep:
        for batch in sweep:
            found = [message for message in batch if message.message_id in left]
            sweep.delete(found)
            left -= {message.message_id for message in found}
            on_letters(len(found))
            if not left:
                break
    return len(set(ids)) - len(left)
