"""A worker as it is, but for its calendar's clock, which can be stepped, and for how long it hides messages at the
most: ``python -m tests.chaos.jobs.worker``.

``--without PART`` takes one of the things from it that keep the promise, for the proof that the harness notices.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from unittest.mock import patch

import time_machine

from harbor_aws.infra.objects import ObjectStore
from harbor_aws.worker import intake, lease, process, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HIDE_SECONDS = 120
"""The most for which a message is hidden that cannot be run now; hours would make a run last that long."""

_LOOK_SECONDS = 0.5


def follow_clock(file: Path) -> None:
    """From now on the calendar is off by the seconds that the file says, which may change; nothing else is."""
    traveller = time_machine.travel(datetime.now(UTC), tick=True).start()
    off = 0

    def follow() -> None:
        nonlocal off
        while True:
            asked = int(file.read_text() or 0)
            if asked != off:
                traveller.shift(asked - off)
                off = asked
            time.sleep(_LOOK_SECONDS)

    Thread(target=follow, name="clock", daemon=True).start()


def hide_for_minutes() -> None:
    """As long as a run has, in place of as long as a night."""
    patch.object(intake, "_MAX_DUPLICATE_SECONDS", HIDE_SECONDS).start()
    patch.object(settle, "MAX_BACKOFF_SECONDS", HIDE_SECONDS).start()


def without_lease() -> None:
    """Messages are never extended, and nobody looks at the time."""
    patch.object(lease.LeaseKeeper, "tick", lambda _: 1.0).start()


def without_commit() -> None:
    """A result is written whether there is one or not."""

    def put(store: ObjectStore, key: str, body: bytes) -> bool:
        store.put(key, body)
        return True

    patch.object(ObjectStore, "put_if_absent", put).start()


def without_reaper() -> None:
    """Nobody removes what the dead have left."""

    @asynccontextmanager
    async def nothing(*_: object, **__: object) -> AsyncIterator[None]:
        yield

    patch.object(process, "reaping", nothing).start()


PARTS = {"lease": without_lease, "commit": without_commit, "reaper": without_reaper}


def main() -> int:
    """The worker's own exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("--without", choices=sorted(PARTS))
    options = parser.parse_args()
    if options.without:
        PARTS[options.without]()
    hide_for_minutes()
    follow_clock(options.clock)
    return process.main()


if __name__ == "__main__":
    sys.exit(main())
