"""What can happen to a request to SQS or S3, and how often what happens. Pure but for its dice."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.jobs.calls import Call

    Weather = Callable[[Call], "Misfortune | None"]
    """Asked once for every request which misfortune it meets."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The service answers with an error, and does nothing."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Delay:
    """The service takes its time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoseRequest:
    """The connection is cut before the service has seen the request."""


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The service does what it is asked, and the connection is cut, after a while, before it can say so."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Twice:
    """What is sent is there twice; what is received is given to another worker, too."""


Misfortune = Refuse | Delay | LoseRequest | LoseAnswer | Twice

_THROTTLED = Refuse(400, "RequestThrottled")
_UNAVAILABLE = Refuse(503, "ServiceUnavailable")
_SLOW_DOWN = Refuse(503, "SlowDown")
_INTERNAL = Refuse(500, "InternalError")

TIMED_OUT_SECONDS = 12.0
"""Longer than a worker waits for the answer to a receive."""


def calm(_call: Call) -> None:
    """No request meets a misfortune."""


class Storm:
    """A share of all requests of a service meets one: each kind of a request's in turn, so that all come soon.

    Args:
        services: ``s3``, ``sqs`` or both.
        share: of the requests, from 0 to 1.
    """

    def __init__(self, seed: int, *, services: frozenset[str], share: float) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._services = services
        self._share = share
        self._met: Counter[str] = Counter()

    def __call__(self, call: Call) -> Misfortune | None:
        if call.service not in self._services or self._random.random() >= self._share:
            return None
        choices = self._choices(call)
        self._met[call.operation] += 1
        return choices[self._met[call.operation] % len(choices)]

    def _choices(self, call: Call) -> list[Misfortune]:
        delay = Delay(self._random.uniform(0.3, 3))
        if call.service == "s3":
            return [_SLOW_DOWN, _INTERNAL, delay, LoseRequest(), LoseAnswer()]
        match call.operation:
            case "ReceiveMessage":
                return [_THROTTLED, _UNAVAILABLE, LoseAnswer(), LoseAnswer(TIMED_OUT_SECONDS), Twice()]
            case "SendMessage" | "SendMessageBatch":
                return [_THROTTLED, _UNAVAILABLE, LoseRequest(), LoseAnswer(), Twice()]
            case _:
                return [_THROTTLED, _INTERNAL, LoseRequest(), LoseAnswer(), delay]


def every_receive_twice(call: Call) -> Misfortune | None:
    """SQS gives every message to two workers."""
    return Twice() if call.operation == "ReceiveMessage" else None
