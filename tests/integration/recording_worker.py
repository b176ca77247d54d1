"""A worker process whose trials sleep and write what becomes of them to a file; started by the tests beside it.

Usage: recording_worker.py STACK_FILE RECORD_FILE, with the settings in the environment. A trial's ``trial_config`` says
what it does: ``seconds`` to sleep (``first_seconds`` on the first receive), ``fails`` on the first receive,
``ends_anyway`` although it is cancelled. Polls and back-offs are shorter than in a real worker.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack
from harbor_aws.worker import inbox, raise_pause, settle
from harbor_aws.worker.run import run_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.worker.delivery import Delivery, TrialHandler


class RecordingHandler:
    """Appends one JSON line an event."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, delivery: Delivery) -> None:
        does = delivery.message.trial_config
        self.record("began", delivery)
        try:
            if delivery.receive_count == 1 and does.get("fails"):
                raise RuntimeError("This trial was told to fail.")
            seconds = does.get("seconds", 0)
            await asyncio.sleep(does.get("first_seconds", seconds) if delivery.receive_count == 1 else seconds)
        except asyncio.CancelledError as error:
            self.record("cancelled", delivery, reason=str(error.args[0]))
            if not does.get("ends_anyway"):
                raise
        except RuntimeError:
            self.record("raised", delivery)
            raise
        self.record("ended", delivery)

    def record(self, event: str, delivery: Delivery | None = None, **more: object) -> None:
        line = {"event": event, "pid": os.getpid(), "at": time.time(), **more}
        if delivery is not None:
            line |= {"trial": delivery.message.trial, "receives": delivery.receive_count}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main() -> int:
    settle.BACKOFF_SECONDS = 1
    raise_pause.FIRST_PAUSE_SECONDS = 1
    inbox.POLL_SECONDS = 1
    stack = Stack.model_validate_json(Path(sys.argv[1]).read_bytes())
    handler = RecordingHandler(Path(sys.argv[2]))

    @asynccontextmanager
    async def open_handler() -> AsyncIterator[TrialHandler]:
        handler.record("opened")
        yield handler
        handler.record("closed")

    return run_worker(stack=stack, settings=Settings(), open_handler=open_handler)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    sys.exit(main())
