"""Files out of a pod."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError
from harbor_aws.worker.exec.stream import ExecStream
from harbor_aws.worker.transfer.byte_source import ByteSource
from harbor_aws.worker.transfer.compression import Compression, decompressed, link_to, wanted
from harbor_aws.worker.transfer.conversation import Conversation
from harbor_aws.worker.transfer.digest import Digest
from harbor_aws.worker.transfer.download_script import download_directory_argv, download_file_argv
from harbor_aws.worker.transfer.exclude import named, not_excluded
from harbor_aws.worker.transfer.limits import TransferLimits
from harbor_aws.worker.transfer.listing import list_members
from harbor_aws.worker.transfer.member import ArchiveError
from harbor_aws.worker.transfer.merge import merge
from harbor_aws.worker.transfer.persistence import PATIENCE_SECONDS, STALL_SECONDS, persistently, while_moving, within
from harbor_aws.worker.transfer.tar_reader import tar_members
from harbor_aws.worker.transfer.threads import AbandonedError, consumed, in_thread
from harbor_aws.worker.transfer.unpack import kept_mode, kept_times, relative_name, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.transfer.member import Member
    from harbor_aws.worker.transfer.persistence import Progress

_DIGITS = 20
_HEADER_BYTES = 4096
"""What a member may take in an archive besides its name, link and content."""


async def download_directory(
    cluster: Cluster,
    pod: str,
    source: str,
    target: Path,
    *,
    exclude: Sequence[str] = (),
    names: Sequence[str] | None = None,
    limits: TransferLimits | None = None,
    compression: Compression = Compression.AUTO,
    patience_seconds: float = PATIENCE_SECONDS,
    on_outage: Callable[[float], None] = lambda _: None,
) -> None:
    """Put the contents of a pod's directory into the directory ``target``, over what is there.

    They are unpacked beside it and moved once all of them have arrived whole: with one rename if there is no ``target``
    yet, otherwise file by file. What is kept and what is left out: :func:`~harbor_aws.worker.transfer.unpack.unpack`.

    Args:
        exclude: patterns, with the meaning of GNU ``tar --exclude``.
        names: only these and what is below them, paths relative to ``source``.
        patience_seconds: how long it is tried again while no attempt gets further than the one before.
        on_outage: see :func:`~harbor_aws.worker.transfer.persistence.persistently`.

    Raises:
        FileNotFoundError: there is no such directory in the pod.
        RemoteFileError: the pod cannot pack it.
        TransferLimitError: it is more than ``limits``.
        ShellMissingError, PermanentError: the image lacks what a transfer needs.
        TransferError, ExecError, PodGoneError: the files did not arrive.
    """
    chosen = None if names is None else [_encoded(name) for name in names]
    listed = b"".join(b"./%b\0" % name for name in chosen or ())
    download = _Download(
        cluster,
        pod,
        what=f"Download of {source}",
        argv=lambda id_, compression, _: download_directory_argv(
            id_, source=source, compression=compression, exclude=exclude, names_size=len(listed)
        ),
        stdin=listed,
        limits=limits or TransferLimits(),
        compression=compression,
        wanted=_wanted(exclude, chosen),
    )

    async def attempt(progress: Progress) -> None:
        async with _beside(target) as room:
            tree = room / "tree"
            await in_thread(tree.mkdir)
            if chosen != []:
                await download.attempt(tree, progress)
            await in_thread(partial(merge, tree, target))

    await persistently(attempt, patience_seconds=patience_seconds, what=download.what, on_outage=on_outage)


async def download_file(
    cluster: Cluster,
    pod: str,
    source: str,
    target: Path,
    *,
    limits: TransferLimits | None = None,
    compression: Compression = Compression.AUTO,
    patience_seconds: float = PATIENCE_SECONDS,
    on_outage: Callable[[float], None] = lambda _: None,
) -> None:
    """Put a pod's file at ``target``, or into it if it is a directory; it appears whole or not at all.

    Its permission bits and its time (whole seconds) are kept.

    Args:
        patience_seconds: how long it is tried again while no attempt gets further than the one before.
        on_outage: see :func:`~harbor_aws.worker.transfer.persistence.persistently`.

    Raises:
        FileNotFoundError: there is no such file in the pod, or it is no regular one.
        RemoteFileError: it cannot be read.
        TransferLimitError: it is more than ``limits``.
        ShellMissingError, PermanentError: the image lacks what a transfer needs.
        TransferError, ExecError, PodGoneError: the file did not arrive.
    """
    name = PurePosixPath(source).name
    if await in_thread(target.is_dir):
        target = target / name
    download = _Download(
        cluster,
        pod,
        what=f"Download of {source}",
        argv=lambda id_, compression, progress: download_file_argv(
            id_, source=source, compression=compression, steady=progress.attempts == 1
        ),
        limits=limits or TransferLimits(),
        compression=compression,
        file_name=_encoded(name),
    )

    async def attempt(progress: Progress) -> None:
        async with _beside(target) as room:
            await download.attempt(room, progress)
            await in_thread(partial(_put, room / name, target))

    await persistently(attempt, patience_seconds=patience_seconds, what=download.what, on_outage=on_outage)


@dataclass(frozen=True)
class _Download:
    """One download, whatever is received."""

    cluster: Cluster
    pod: str
    what: str
    argv: Callable[[str, Iterable[str], Progress], list[str]]
    limits: TransferLimits
    compression: Compression
    stdin: bytes = b""
    wanted: Callable[[bytes], bool] | None = None
    file_name: bytes = b""

    async def attempt(self, target: Path, progress: Progress) -> None:
        """Receive all of it into an empty directory, once."""
        link = link_to(self.cluster)
        argv = self.argv(secrets.token_hex(8), wanted(self.compression, link), progress)
        async with ExecStream.open(self.cluster, self.pod, argv) as stream:
            script = Conversation(stream, what=self.what, on_heard=progress.heard)
            if self.stdin:
                async with within(STALL_SECONDS, self.what):
                    await stream.send(self.stdin)
            words = await script.words("sending", seconds=STALL_SECONDS)
            if len(words) != 5:
                raise TransferError(f"{self.what}: the pod does not say what it sends, but {words}.")
            began = asyncio.get_running_loop().time()
            digest = await self._receive(script, words, target, progress)
            (theirs,) = script.words_of_stderr("sent")[:1] or ("nothing",)
            digest.check(theirs, what=self.what)
            link.measured(size=digest.size, seconds=asyncio.get_running_loop().time() - began)

    async def _receive(self, script: Conversation, words: list[str], target: Path, progress: Progress) -> Digest:
        keep = partial(self._keep, words=words, target=target)
        size = 0
        async with consumed(keep) as (queue, keeping):
            try:
                async with while_moving(STALL_SECONDS, self.what) as watchdog:
                    while (piece := await script.piece()) is not None:
                        size += len(piece)
                        progress.reached(size)
                        watchdog.moved()
                        await queue.put(piece)
                queue.end()
            except AbandonedError:
                pass  # the thread stopped reading, and says why
            return await keeping

    def _keep(self, pieces: Iterable[bytes], *, words: list[str], target: Path) -> Digest:
        """Write down what comes, in a thread."""
        digest = Digest()
        what, limits = self.what, self.limits
        format_, squeeze, filtered, mode, mtime = words
        source = ByteSource(self._bounded(decompressed(digest.of(pieces), _compression(squeeze))))
        members: Iterator[Member]
        match format_:
            case "file":
                self._keep_file(source, target, mode=_number(mode, 8), mtime=_number(mtime, 10))
                return digest
            case "list":
                members = list_members(source, limits=limits, what=what)
            case _:
                members = tar_members(source, limits=limits, what=what)
        unfiltered = self.wanted if filtered == "whole" else None
        unpack(members, source, target, limits=limits, wanted=unfiltered, what=what)
        return digest

    def _keep_file(self, source: ByteSource, target: Path, *, mode: int | None, mtime: int | None) -> None:
        path = target / os.fsdecode(self.file_name)
        size = 0
        with path.open("xb", buffering=0) as file:
            for piece in source.rest():
                size += len(piece)
                if size > self.limits.size_bytes:
                    raise self.limits.exceeded("size_bytes", size, self.what)
                file.write(piece)
            if mode is not None:
                os.fchmod(file.fileno(), kept_mode(mode))
            if mtime is not None:
                os.utime(file.fileno(), kept_times(mtime))

    def _bounded(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Ends what never ends by itself, such as an archive of nothing but padding."""
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self.limits.size_bytes + self.limits.members * _HEADER_BYTES:
                raise self.limits.exceeded("size_bytes", size, self.what)
            yield piece


def _compression(name: str) -> Compression:
    try:
        return Compression(name)
    except ValueError as error:
        raise ArchiveError(f"What the pod sends is compressed by {name!r}, which nobody asked for.") from error


def _number(word: str, base: int) -> int | None:
    """A number that the pod says; ``None`` if it says that it does not know."""
    try:
        return None if word == "-" else int(word[:_DIGITS], base)
    except ValueError as error:
        raise ArchiveError(f"The pod says {word[:_DIGITS]!r} where a number should be.") from error


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _wanted(exclude: Sequence[str], names: Sequence[bytes] | None) -> Callable[[bytes], bool] | None:
    """Which members are to stay, where the pod could not tell; ``None``: all."""
    if not exclude and names is None:
        return None
    is_named = (
        (lambda _: True) if names is None else named(name for name in map(relative_name, names) if name is not None)
    )
    is_not_excluded = not_excluded(exclude)
    return lambda name: is_named(name) and is_not_excluded(name)


def _put(place: Path, target: Path) -> None:
    if place.is_symlink() or not place.is_file():
        raise TransferError(f"The pod did not send the file that {target} was to become.")
    place.replace(target)


@asynccontextmanager
async def _beside(target: Path) -> AsyncIterator[Path]:
    """A directory of our own on the file system of ``target``, whose parents are made if need be."""
    room = target.parent / f".harbor-aws-{secrets.token_hex(8)}"
    await in_thread(partial(room.mkdir, parents=True))
    try:
        yield room
    finally:
        await in_thread(partial(shutil.rmtree, room, ignore_errors=True))
