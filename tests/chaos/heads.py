"""The head of an HTTP/1.1 request, as much of it as a proxy must know. Pure."""

from __future__ import annotations

import http
import json
import re
from dataclasses import dataclass

END = b"\r\n\r\n"
_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) /")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Request line and headers, with their end."""

    raw: bytes

    def header(self, name: str) -> str | None:
        for line in self.raw.split(b"\r\n")[1:]:
            key, colon, value = line.partition(b":")
            if colon and key.strip().lower() == name.lower().encode():
                return value.strip().decode("latin-1")
        return None

    @property
    def bearer(self) -> str | None:
        """The token that the client shows."""
        return (self.header("Authorization") or "").partition("Bearer ")[2] or None

    @property
    def asks_for_upgrade(self) -> bool:
        """Whether a WebSocket follows, if the server agrees."""
        return self.header("Upgrade") is not None

    @property
    def body_bytes(self) -> int | None:
        """Length of the body that follows; ``None`` if all that follows on this connection belongs to it."""
        if self.asks_for_upgrade or self.header("Transfer-Encoding") is not None:
            return None
        return int(self.header("Content-Length") or 0)

    def authorized(self, token: str | None) -> bytes:
        """The head with another token, or with none."""
        lines = self.raw.removesuffix(END).split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"authorization:")]
        if token is not None:
            kept.insert(1, f"Authorization: Bearer {token}".encode())
        return b"\r\n".join(kept) + END


def begins_request(data: bytes) -> bool:
    """Whether this is a request rather than frames of a WebSocket, which a client's never look like."""
    return _REQUEST.match(data) is not None


def refusal(status: int) -> bytes:
    """A whole answer with a Kubernetes ``Status``, after which the connection ends."""
    phrase = http.HTTPStatus(status).phrase
    body = json.dumps(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": f"chaos: {phrase}"}
    ).encode()
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + END + body
