"""Which connection meets which fault. Pure."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING

from tests.chaos.faults import (
    Answer,
    Cut,
    Direction,
    ExpireToken,
    HalfOpen,
    Later,
    Part,
    Place,
    Stall,
    Throttle,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.chaos.faults import Fault, Where

    Schedule = Callable[[], Fault | None]
    """Asked once for every new connection."""

MIB = 1024 * 1024


def calm() -> None:
    """No connection meets a fault."""


class Listed:
    """The next connections meet these faults, one each, and those after them none."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = deque(faults)

    def __call__(self) -> Fault | None:
        return self._faults.popleft() if self._faults else None


class Weather:
    """About every second connection meets a fault; the same seed gives the same faults in the same order.

    Args:
        half_open_share: of all connections; each costs its client the time to find out.
    """

    def __init__(self, seed: int, *, half_open_share: float = 0.02) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._kinds: dict[Callable[[], Fault | None], float] = {
            calm: 0.5 - half_open_share,
            self._cut: 0.3,
            self._stall: 0.06,
            self._throttle: 0.05,
            self._answer: 0.07,
            ExpireToken: 0.02,
            self._half_open: half_open_share,
        }

    def __call__(self) -> Fault | None:
        [kind] = self._random.choices(list(self._kinds), list(self._kinds.values()))
        return kind()

    def _cut(self) -> Fault:
        return Cut(self._where(), reset=self._random.random() < 0.5)

    def _stall(self) -> Fault:
        return Stall(self._where(), seconds=self._random.uniform(0.05, 2))

    def _half_open(self) -> Fault:
        return HalfOpen(self._where())

    def _throttle(self) -> Fault:
        return Throttle(bytes_per_second=int(self._log_uniform(100_000, 4 * MIB)))

    def _answer(self) -> Fault:
        return Answer(self._random.choice((500, 502, 503, 504)))

    def _where(self) -> Where:
        if self._random.random() < 0.15:
            return Later(self._random.uniform(0, 1.5))
        direction = self._random.choice((Direction.UP, Direction.DOWN, Direction.DOWN))
        if self._random.random() < 0.2:
            return Place(direction, Part.HEAD, self._random.randrange(150))
        return Place(direction, Part.BODY, self._within_body(direction))

    def _within_body(self, direction: Direction) -> int:
        """Often near the beginning, where a short command's whole life is; else anywhere up to some MiB."""
        if self._random.random() < 0.5:
            return self._random.randrange(6000 if direction is Direction.UP else 250)
        return int(self._log_uniform(1, 4 * MIB))

    def _log_uniform(self, low: float, high: float) -> float:
        return float(low * (high / low) ** self._random.random())
