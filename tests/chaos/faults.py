"""What can happen to a connection, and where. Pure.

A place is counted in bytes of one direction, in the head of the connection's first request or answer, or behind it: of
an exec, what is behind the head upstream is stdin, and downstream it is output and status.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way bytes go."""

    UP = "up"
    """From the client to the server."""
    DOWN = "down"


class Part(Enum):
    """Of what goes one way."""

    HEAD = "head"
    """Request line or status line, and headers, of the first message."""
    BODY = "body"
    """All that follows."""


@dataclass(frozen=True, slots=True)
class Place:
    """Reached when ``after_bytes`` of a part have passed and another one comes, which does not pass any more."""

    direction: Direction
    part: Part
    after_bytes: int

    def __str__(self) -> str:
        return _PLACES[self.direction, self.part]


@dataclass(frozen=True, slots=True)
class Words:
    """Reached as soon as these bytes have passed downstream, behind the head. (Upstream a WebSocket masks them.)"""

    text: bytes

    def __str__(self) -> str:
        return "behind certain words of the output"


@dataclass(frozen=True, slots=True)
class Later:
    """Reached so long after the connection was made, wherever it is by then."""

    seconds: float

    def __str__(self) -> str:
        return "after a time"


Where = Place | Words | Later

_PLACES = {
    (Direction.UP, Part.HEAD): "within the request",
    (Direction.UP, Part.BODY): "within stdin",
    (Direction.DOWN, Part.HEAD): "within the answer's head",
    (Direction.DOWN, Part.BODY): "within the output",
}


@dataclass(frozen=True, slots=True)
class Cut:
    """Both sides see the connection end: by FIN, or by RST, which may take with it what was on its way."""

    at: Where
    reset: bool = False

    def __str__(self) -> str:
        return f"{'reset' if self.reset else 'cut'} {self.at}"


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing passes for a while in either direction, and then all goes on."""

    at: Where
    seconds: float

    def __str__(self) -> str:
        return f"stalled {self.at}"


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """From here on nothing passes in either direction, and nothing is closed until the client leaves."""

    at: Where

    def __str__(self) -> str:
        return f"half-open {self.at}"


@dataclass(frozen=True, slots=True)
class Throttle:
    """Each direction passes so many bytes a second."""

    bytes_per_second: int

    def __str__(self) -> str:
        return "throttled"


@dataclass(frozen=True, slots=True)
class Answer:
    """The first request is answered by an HTTP error in place of the server, which never sees it."""

    status: int

    def __str__(self) -> str:
        return f"answered {self.status}"


@dataclass(frozen=True, slots=True)
class ExpireToken:
    """With this connection's first request the client's token is over (401), and its kubeconfig has a new one."""

    def __str__(self) -> str:
        return "answered 401 for a token that is over"


@dataclass(frozen=True, slots=True)
class Idle:
    """The connection is cut once nothing has passed for a while, as many a proxy and load balancer does."""

    seconds: float

    def __str__(self) -> str:
        return "cut for being idle"


Fault = Cut | Stall | HalfOpen | Throttle | Answer | ExpireToken | Idle
