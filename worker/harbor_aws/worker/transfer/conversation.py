"""What a transfer's script says while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError
from harbor_aws.worker.exec.channels import Channel
from harbor_aws.worker.transfer.persistence import within
from harbor_aws.worker.transfer.report import last_word_error, words_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.worker.exec.stream import ExecStream

_LINE_BYTES = 4096
_STDERR_BYTES = 64 * 1024


class Conversation:
    """The receiving side of a script's stream: lines, or bytes, of its stdout; its stderr's end is kept.

    Args:
        on_heard: called for each word from the pod.
    """

    def __init__(self, stream: ExecStream, *, what: str, on_heard: Callable[[], None]) -> None:
        self._stream = stream
        self._what = what
        self._on_heard = on_heard
        self._held = b""
        self._stderr = bytearray()
        self.ended = False

    async def words(self, word: str, *, seconds: float | None) -> list[str]:
        """What the next line says behind ``word``.

        Raises:
            TransferError: it says something else, or nothing for so long.
            Exception: as :meth:`piece`, or the script ended well but too early.
        """
        async with within(seconds, self._what):
            while b"\n" not in self._held:
                if len(self._held) > _LINE_BYTES:
                    break
                piece = await self._next()
                if piece is None:
                    raise TransferError(f"{self._what}: the script in the pod ended before it said {word!r}.")
                self._held += piece
        line, _, self._held = self._held.partition(b"\n")
        return words_after(word, line, what=self._what)

    async def piece(self) -> bytes | None:
        """The next bytes of stdout; ``None`` once the script has ended well.

        Raises:
            TransferError: the script was killed, or not all has arrived there.
            FileNotFoundError: the source is not there.
            RemoteFileError: the pod's files do not allow it.
            ExecError: the stream ended without a last word.
        """
        if self._held:
            piece, self._held = self._held, b""
            return piece
        return await self._next()

    async def end(self, *, seconds: float) -> None:
        """Wait for the script to end well.

        Raises:
            TransferError: it does not end.
            Exception: as :meth:`piece`.
        """
        async with within(seconds, self._what):
            while await self.piece() is not None:
                pass

    def words_of_stderr(self, word: str) -> list[str]:
        """What the last line of stderr that begins with ``word`` says.

        Raises:
            TransferError: there is none.
        """
        return words_after(word, bytes(self._stderr), what=self._what)

    async def _next(self) -> bytes | None:
        while not self.ended:
            frame = await self._stream.receive()
            self._on_heard()
            if frame.channel is Channel.STDOUT:
                if frame.data:
                    return frame.data
            elif frame.channel is Channel.STDERR:
                self._stderr += frame.data
                del self._stderr[:-_STDERR_BYTES]
            else:
                self.ended = True
                error = last_word_error(frame.data, stderr=bytes(self._stderr), what=self._what)
                if error is not None:
                    raise error
        return None
