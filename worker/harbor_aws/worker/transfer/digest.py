"""Size and SHA-256 of what is sent or received."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Digest:
    """Size and SHA-256 of a stream that passes by."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size = 0

    def of(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, counted and digested."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def add(self, piece: bytes) -> None:
        """Count and digest one piece."""
        self._sha256.update(piece)
        self.size += len(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def check(self, theirs: str, *, what: str) -> None:
        """Compare with what the pod says: a SHA-256, in which the size is, or, from an image without a digest, a size.

        Raises:
            TransferError: they differ.
        """
        if theirs not in (self.sha256, str(self.size)):
            raise TransferError(
                f"{what} did not arrive whole: {self.size} bytes of SHA-256 {self.sha256} here, {theirs} in the pod."
            )
