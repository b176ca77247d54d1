"""The protocol inside an exec's WebSocket: ``v4.channel.k8s.io`` and ``v5.channel.k8s.io``. Pure.

Each binary message is one byte that names a channel, and the channel's bytes. v5 adds a message that closes a channel.
https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets and
https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""What is offered to the server, best first."""

FRAME_BYTES = 64 * 1024
"""How much of stdin one message carries; messages of tens of MiB reset connections."""


class Channel(IntEnum):
    """The first byte of a message."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    """The server's last word: a ``Status``."""
    RESIZE = 4
    CLOSE = 255
    """v5 only: closes the channel that the second byte names."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message from the server."""

    channel: Channel
    data: bytes


@dataclass(frozen=True, slots=True)
class ExecStatus:
    """How an exec ended, by the server's word.

    Attributes:
        exit_code: the process's, or ``None`` if there was no process that could end.
        message: what the server says.
    """

    exit_code: int | None
    message: str = ""


def stdin_frames(data: bytes) -> Iterator[bytes]:
    """Messages that carry ``data`` to stdin."""
    for start in range(0, len(data), FRAME_BYTES):
        yield bytes([Channel.STDIN]) + data[start : start + FRAME_BYTES]


def decode(message: bytes) -> Frame | None:
    """A message of the server; ``None`` for one that says nothing to us (empty, or a channel that we do not know)."""
    if not message or message[0] not in (Channel.STDOUT, Channel.STDERR, Channel.ERROR):
        return None
    return Frame(Channel(message[0]), message[1:])


def parse_status(data: bytes) -> ExecStatus:
    """The ``Status`` on the error channel.

    A process that ended with another code than 0 is ``reason: NonZeroExitCode`` with the code among the causes; any
    other failure means that no process could be started or waited for.
    """
    try:
        status = json.loads(data)
    except ValueError:
        return ExecStatus(exit_code=None, message=data[:500].decode(errors="replace"))
    message = str(status.get("message", ""))
    if status.get("status") == "Success":
        return ExecStatus(exit_code=0)
    if status.get("reason") == "NonZeroExitCode":
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
                return ExecStatus(exit_code=int(cause["message"]), message=message)
    return ExecStatus(exit_code=None, message=message or str(status))
