"""How much one download may bring. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harbor_aws.worker.transfer.report import RemoteFileError


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """The most that one download may bring."""

    size_bytes: int = 16 * 1024**3
    """Of all files together; a sparse file counts as long as it claims to be."""
    members: int = 500_000
    """Files, directories, links and whatever else is in the archive."""
    path_bytes: int = 4096
    """Length of one member's path, or of what a link leads to (Linux's PATH_MAX)."""

    def exceeded(self, limit: Literal["size_bytes", "members", "path_bytes"], found: int, what: str) -> Exception:
        """The error for a limit that was exceeded."""
        return TransferLimitError(
            f"{what} exceeds the limit {limit}: {getattr(self, limit)} are allowed, and there are {found} or more.",
            limit=limit,
        )


class TransferLimitError(RemoteFileError):
    """A download would bring more than :class:`TransferLimits` allows.

    Attributes:
        limit: the name of the limit that was exceeded.
    """

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit
