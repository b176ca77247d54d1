"""What the pod says about a transfer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from harbor_aws.infra.errors import HarborAwsError, PermanentError, TransferError
from harbor_aws.worker.transfer.scripts import MISSING_EXIT_CODE, NO_TAR_EXIT_CODE, REPORT


class RemoteFileError(HarborAwsError):
    """The pod's own files do not allow a transfer: its disk is full, a file is where a directory should be.

    It is what ran in the pod that made them so. So this is no failure of the infrastructure, is not recorded as one,
    and another attempt is not owed. Harbor's verifier makes of it, as of a ``FileNotFoundError`` for what is not in
    the pod, an ``AddTestsDirError`` or a ``DownloadVerifierDirError``. As all that the infrastructure does to a
    transfer is recorded, one of these two with nothing recorded was brought about in the pod.
    """


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What arrived in the pod, or is about to leave it."""

    size: int
    sha256: str | None
    """``None`` where the image cannot tell."""
    mode: int | None
    """Permission bits of a single file."""

    @classmethod
    def parse(cls, line: bytes) -> TransferReport:
        """The report in a line.

        Raises:
            TransferError: there is none.
        """
        words = line.removeprefix(REPORT.encode()).decode(errors="replace").split()
        if not line.startswith(REPORT.encode()) or len(words) != 3 or not words[0].isdigit():
            raise TransferError(f"The pod reports a transfer by {line[:200]!r}, which says nothing.")
        size, sha256, mode = words
        return cls(
            size=int(size),
            sha256=None if sha256 == "-" else sha256,
            mode=None if mode == "-" else int(mode, 8),
        )

    def check(self, *, size: int, sha256: str, what: str) -> None:
        """Compare with what this side saw.

        Raises:
            TransferError: they differ.
        """
        if size != self.size:
            raise TransferError(f"{what} did not arrive whole: {size} bytes here, {self.size} in the pod.")
        if self.sha256 not in (None, sha256):
            raise TransferError(f"{what} was changed on its way: SHA-256 {sha256} here, {self.sha256} in the pod.")


def remote_error(exit_code: int, *, stderr: bytes, what: str) -> Exception:
    """The exception for a transfer's script that did not end with 0."""
    text = stderr.decode(errors="replace").strip()[-2000:] or f"exit code {exit_code}"
    if exit_code == MISSING_EXIT_CODE:
        return FileNotFoundError(f"{what}: {text}")
    if exit_code > 128:
        return TransferError(f"{what} was killed in the pod: {text}")
    if exit_code == NO_TAR_EXIT_CODE:
        return PermanentError(f"{what}: {text}, which the transfer of a directory needs. Install tar in the image.")
    return RemoteFileError(f"{what}: {text}")
