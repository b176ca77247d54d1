"""What the pod says about a transfer. Pure."""

from __future__ import annotations

from harbor_aws.infra.errors import ExecError, HarborAwsError, PermanentError, TransferError
from harbor_aws.worker.exec.channels import parse_status
from harbor_aws.worker.exec.command import ShellMissingError
from harbor_aws.worker.transfer.scripts import CUT_EXIT_CODE, MISSING_EXIT_CODE, NO_TOOL_EXIT_CODE, WORD

_STDERR_TAIL = 2000


class RemoteFileError(HarborAwsError):
    """The pod's own files do not allow a transfer: its disk is full, a file is where a directory should be.

    It is what ran in the pod that made them so. So this is no failure of the infrastructure, is not recorded as one,
    and another attempt is not owed. Harbor's verifier makes of it, as of a ``FileNotFoundError`` for what is not in
    the pod, an ``AddTestsDirError`` or a ``DownloadVerifierDirError``. As all that the infrastructure does to a
    transfer is recorded, one of these two with nothing recorded was brought about in the pod.
    """


def words_after(word: str, text: bytes, *, what: str) -> list[str]:
    """What a script's last line that begins with ``word`` says behind it.

    Raises:
        TransferError: there is no such line.
    """
    prefix = f"{WORD}{word}".encode()
    for line in reversed(text.split(b"\n")):
        if line == prefix or line.startswith(prefix + b" "):
            return line[len(prefix) :].decode(errors="replace").split()
    raise TransferError(f"{what}: the pod says {text[-200:]!r} where it should say {word!r}.")


def last_word_error(last_word: bytes, *, stderr: bytes, what: str) -> Exception | None:
    """The exception for how a transfer's script ended, by the server's word; ``None`` if it ended well."""
    status = parse_status(last_word)
    if status.exit_code == 0:
        return None
    if status.exit_code is not None:
        return remote_error(status.exit_code, stderr=stderr, what=what)
    if "executable file not found" in status.message or "no such file or directory" in status.message:
        return ShellMissingError(f"{what}: the image has no shell, which a transfer needs: {status.message}")
    return ExecError(f"{what}: no process could be started: {status.message}")


def remote_error(exit_code: int, *, stderr: bytes, what: str) -> Exception:
    """The exception for a transfer's script that did not end with 0."""
    text = stderr.decode(errors="replace").strip()[-_STDERR_TAIL:] or f"exit code {exit_code}"
    if exit_code == MISSING_EXIT_CODE:
        return FileNotFoundError(f"{what}: {text}")
    if exit_code == CUT_EXIT_CODE:
        return TransferError(f"{what} did not arrive whole: {text}")
    if exit_code > 128:
        return TransferError(f"{what} was killed in the pod: {text}")
    if exit_code == NO_TOOL_EXIT_CODE:
        return PermanentError(f"{what}: {text}, which a transfer needs. Install one in the image.")
    return RemoteFileError(f"{what}: {text}")
