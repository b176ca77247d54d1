"""Files into a pod."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import ExecError
from harbor_aws.worker.exec.stream import ExecStream
from harbor_aws.worker.transfer.compression import Compression, chosen, compressed, link_to, wanted
from harbor_aws.worker.transfer.conversation import Conversation
from harbor_aws.worker.transfer.frames import frames, without_announcements
from harbor_aws.worker.transfer.listing import list_pieces
from harbor_aws.worker.transfer.pack import directory_entries, file_entry, large_file_pieces, tar_pieces
from harbor_aws.worker.transfer.persistence import (
    FINISH_SECONDS,
    PATIENCE_SECONDS,
    STALL_SECONDS,
    persistently,
    within,
)
from harbor_aws.worker.transfer.scripts import LARGE_BYTES
from harbor_aws.worker.transfer.threads import in_thread, produced
from harbor_aws.worker.transfer.upload_script import upload_directory_argv, upload_file_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.transfer.frames import Ahead
    from harbor_aws.worker.transfer.pack import Entry
    from harbor_aws.worker.transfer.persistence import Progress

_SEND_BYTES = 256 * 1024
"""How much has :data:`STALL_SECONDS` to be taken."""

_LAST_WORDS_SECONDS = 1.0
_MEMBER = b"file"  # a single file's name, until it is at its place


async def upload_directory(
    cluster: Cluster,
    pod: str,
    source: Path,
    target: str,
    *,
    compression: Compression = Compression.AUTO,
    patience_seconds: float = PATIENCE_SECONDS,
    on_outage: Callable[[float], None] = lambda _: None,
) -> None:
    """Put the contents of a directory into the directory ``target`` of a pod, made if need be.

    Modes, times (whole seconds), symbolic and hard links and empty directories are kept; owners become the pod's user.
    If there is no such directory yet, it appears whole or not at all. If there is, nothing changes in it before all has
    arrived whole; then its files appear one after the other, each of them whole.

    Args:
        patience_seconds: how long it is tried again while no attempt gets further than the one before.
        on_outage: see :func:`~harbor_aws.worker.transfer.persistence.persistently`.

    Raises:
        NotADirectoryError: there is no such directory here.
        RemoteFileError: the pod's files do not allow it.
        ShellMissingError, PermanentError: the image lacks what a transfer needs.
        TransferError, ExecError, PodGoneError: the files did not arrive.
    """
    if not await in_thread(source.is_dir):
        raise NotADirectoryError(f"There is no directory {source} to upload.")
    upload = _Upload(
        cluster,
        pod,
        what=f"Upload of {source} to {target}",
        argv=partial(upload_directory_argv, target=target),
        entries=partial(directory_entries, os.fsencode(source)),
        compression=compression,
    )
    await persistently(upload.attempt, patience_seconds=patience_seconds, what=upload.what, on_outage=on_outage)


async def upload_file(
    cluster: Cluster,
    pod: str,
    source: Path,
    target: str,
    *,
    compression: Compression = Compression.AUTO,
    patience_seconds: float = PATIENCE_SECONDS,
    on_outage: Callable[[float], None] = lambda _: None,
) -> None:
    """Put a file at ``target`` in a pod, or into it if it is a directory there; its mode and time are kept.

    It appears whole or not at all.

    Args:
        patience_seconds: how long it is tried again while no attempt gets further than the one before.
        on_outage: see :func:`~harbor_aws.worker.transfer.persistence.persistently`.

    Raises:
        FileNotFoundError: there is no such file here.
        RemoteFileError: the pod's files do not allow it.
        ShellMissingError, PermanentError: the image lacks what a transfer needs.
        TransferError, ExecError, PodGoneError: the file did not arrive.
    """
    entry = partial(file_entry, os.fsencode(source), _MEMBER)
    member, _ = await in_thread(entry, known=(FileNotFoundError, NotADirectoryError))
    upload = _Upload(
        cluster,
        pod,
        what=f"Upload of {source} to {target}",
        argv=partial(upload_file_argv, target=target, name=source.name, large=member.size >= LARGE_BYTES),
        entries=lambda: iter([entry()]),
        compression=compression,
        is_file=True,
    )
    await persistently(upload.attempt, patience_seconds=patience_seconds, what=upload.what, on_outage=on_outage)


@dataclass(frozen=True)
class _Upload:
    """One upload, whatever is sent."""

    cluster: Cluster
    pod: str
    what: str
    argv: Callable[[str], list[str]]
    entries: Callable[[], Iterator[Entry]]
    compression: Compression
    is_file: bool = False

    async def attempt(self, progress: Progress) -> None:
        """Send all of it, once."""
        argv = self.argv(secrets.token_hex(8))
        async with ExecStream.open(self.cluster, self.pod, argv, heartbeat_seconds=None) as stream:
            script = Conversation(stream, what=self.what, on_heard=progress.heard)
            tools = await script.words("ready", seconds=STALL_SECONDS)
            line, pieces = await in_thread(partial(self._plan, tools), known=(FileNotFoundError,))
            await stream.send(line)
            sending = _Sending(stream, script, progress, paced="exact" not in tools, what=self.what)
            link, began = link_to(self.cluster), asyncio.get_running_loop().time()
            await sending.send_all(pieces)
            link.measured(size=sending.size, seconds=asyncio.get_running_loop().time() - began)

    def _plan(self, tools: list[str]) -> tuple[bytes, Callable[[], Iterable[bytes]]]:
        """The line that tells the script what comes, and what comes."""
        compression = chosen(wanted(self.compression, link_to(self.cluster)), tools)
        line, archive = self._archive(tools, compression)

        def pieces() -> Iterator[bytes]:
            made = archive()
            if compression is not Compression.NONE:
                made = compressed(without_announcements(made), compression)
            return frames(made, whole="exact" not in tools)

        return line, pieces

    def _archive(
        self, tools: list[str], compression: Compression
    ) -> tuple[bytes, Callable[[], Iterator[bytes | Ahead]]]:
        if self.is_file:
            member, path = next(self.entries())
            if not ("gnu" in tools and member.extents is not None):
                line = f"file {compression} {member.mode or 0:o} {member.mtime or 0}\n".encode()
                return line, partial(large_file_pieces, path, size=member.size)
        if "tar" in tools:
            return f"tar {compression} - -\n".encode(), lambda: tar_pieces(self.entries(), sparse="gnu" in tools)
        return f"list {compression} - -\n".encode(), lambda: list_pieces(self.entries())


class _Sending:
    """The sending of frames to a script that listens, and may have its last word at any time."""

    def __init__(self, stream: ExecStream, script: Conversation, progress: Progress, *, paced: bool, what: str) -> None:
        self._stream = stream
        self._script = script
        self._progress = progress
        self._paced = paced
        self._what = what
        self.size = 0

    async def send_all(self, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Send them, and wait until the script has put them away.

        Raises:
            Exception: as :meth:`Conversation.piece`.
        """
        if self._paced:
            async with produced(pieces) as queue:
                while piece := await queue.get():
                    await self._script.words("go", seconds=STALL_SECONDS)
                    await self._send(piece)
            await self._script.words("done", seconds=FINISH_SECONDS)
            await self._script.end(seconds=STALL_SECONDS)
            return
        listening = asyncio.create_task(self._listen())
        try:
            async with produced(pieces) as queue:
                while (piece := await queue.get()) and not listening.done():
                    await self._send_unless_ended(piece, listening)
                if listening.done():
                    listening.result()
            async with within(FINISH_SECONDS, self._what):
                await listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        """Wait for the script's end."""
        await self._script.words("done", seconds=None)
        await self._script.end(seconds=STALL_SECONDS)

    async def _send_unless_ended(self, piece: bytes, listening: asyncio.Task[None]) -> None:
        try:
            await self._send(piece)
        except ExecError:
            await asyncio.wait({listening}, timeout=_LAST_WORDS_SECONDS)
            if listening.done():
                listening.result()  # why the pod ended it says more than that it did
            raise

    async def _send(self, piece: bytes) -> None:
        for start in range(0, len(piece), _SEND_BYTES):
            part = piece[start : start + _SEND_BYTES]
            async with within(STALL_SECONDS, self._what):
                await self._stream.send(part)
            self.size += len(part)
            self._progress.reached(self.size)
