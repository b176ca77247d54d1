"""The loop of a controller: each changed object is looked at once, soon, however often it changed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Key = tuple[str, str]
    """Namespace and name."""

_log = logging.getLogger(__name__)


class WorkQueue:
    """Calls ``reconcile`` with every key that was added, on the loop, never while something else changes objects."""

    def __init__(self, reconcile: Callable[[Key], None]) -> None:
        self._reconcile = reconcile
        self._keys: dict[Key, None] = {}
        self._scheduled = False
        self._timers: set[asyncio.TimerHandle] = set()

    def add(self, key: Key) -> None:
        self._keys[key] = None
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def add_later(self, key: Key, seconds: float) -> None:
        def due() -> None:
            self._timers.discard(timer)
            self.add(key)

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._keys.clear()

    def _run(self) -> None:
        self._scheduled = False
        keys, self._keys = self._keys, {}
        for key in keys:
            try:
                self._reconcile(key)
            except Exception:  # noqa: BLE001 - one object must not stop the others
                _log.exception("%s/%s could not be reconciled.", *key, extra={"action": "reconcile", "key": key})
