"""Files out of a pod."""

from __future__ import annotations

import secrets
import shutil
import tarfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from harbor_aws.infra.errors import ExecError, TransferError
from harbor_aws.worker.exec.channels import Channel, parse_status
from harbor_aws.worker.exec.stream import ExecStream
from harbor_aws.worker.transfer.pipes import consumed, in_thread
from harbor_aws.worker.transfer.progress import PACK_SECONDS, STALL_SECONDS, within
from harbor_aws.worker.transfer.report import TransferReport, remote_error
from harbor_aws.worker.transfer.retry import retried
from harbor_aws.worker.transfer.scripts import download_file_argv, download_tar_argv
from harbor_aws.worker.transfer.unpack import DigestingReader, TransferLimitError, TransferLimits, merge, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from harbor_aws.infra.cluster import Cluster

_LINE_LIMIT = 4096
_STDERR_LIMIT = 64 * 1024


@retried
async def download_directory(
    cluster: Cluster,
    pod: str,
    source: str,
    target: Path,
    *,
    exclude: Sequence[str] = (),
    names: Sequence[str] | None = None,
    limits: TransferLimits | None = None,
) -> None:
    """Put the contents of a pod's directory into the directory ``target``, over what is there.

    They are unpacked beside it and moved once all of them have arrived whole.

    Args:
        exclude: patterns for ``tar --exclude``.
        names: only these, paths relative to ``source``.

    Raises:
        FileNotFoundError: there is no such directory in the pod.
        RemoteFileError: the pod cannot pack it.
        TransferLimitError: it is more than ``limits``.
        PermanentError: the image has no tar.
        TransferError, ExecError, PodGoneError: the files did not arrive.
    """
    limits = limits or TransferLimits()
    listed = b"".join(f"{name}\n".encode(errors="surrogateescape") for name in names or ())
    argv = download_tar_argv(secrets.token_hex(8), source=source, exclude=exclude, names_size=len(listed))
    async with _beside(target) as room:
        tree = room / "tree"
        await in_thread(tree.mkdir)
        await _download(
            cluster,
            pod,
            argv,
            stdin=listed,
            keep=partial(unpack, target=tree, limits=limits),
            limits=limits,
            what=f"Download of {source}",
        )
        await in_thread(partial(merge, tree, target))


@retried
async def download_file(
    cluster: Cluster, pod: str, source: str, target: Path, *, limits: TransferLimits | None = None
) -> None:
    """Put a pod's file at ``target``, or into it if it is a directory.

    Raises:
        FileNotFoundError: there is no such file in the pod, or it is no regular one.
        TransferLimitError: it is more than ``limits``.
        TransferError, ExecError, PodGoneError: the file did not arrive.
    """
    if await in_thread(target.is_dir):
        target = target / PurePosixPath(source).name
    async with _beside(target) as room:
        place = room / "file"
        report = await _download(
            cluster,
            pod,
            download_file_argv(secrets.token_hex(8), source=source),
            keep=partial(_write, target=place),
            limits=limits or TransferLimits(),
            what=f"Download of {source}",
        )
        await in_thread(partial(_put, place, target, mode=report.mode))


async def _download(
    cluster: Cluster,
    pod: str,
    argv: list[str],
    *,
    keep: Callable[[DigestingReader], None],
    limits: TransferLimits,
    what: str,
    stdin: bytes = b"",
) -> TransferReport:
    async with ExecStream.open(cluster, pod, argv) as stream:
        source = _Source(stream, what=what)
        async with within(STALL_SECONDS, what):
            await stream.send(stdin)
        async with within(PACK_SECONDS, what):
            report = TransferReport.parse(await source.line())
        if report.size > limits.size_bytes:
            raise TransferLimitError(f"{what} has {report.size} bytes, and {limits.size_bytes} are allowed.")
        async with consumed(partial(_digest, keep=keep)) as (writer, keeping):
            try:
                left = report.size
                while left:
                    async with within(STALL_SECONDS, what):
                        data = await source.some(left)
                    left -= len(data)
                    writer.write(data)
                    await writer.drain()
                writer.close()
            except ConnectionError:
                pass  # the thread stopped reading, and says why
            try:
                size, sha256 = await keeping
            except tarfile.TarError as error:
                raise TransferError(f"{what} is not a tar: {error}") from error
    report.check(size=size, sha256=sha256, what=what)
    return report


class _Source:
    """The stdout of a script that first says a line and then sends bytes."""

    def __init__(self, stream: ExecStream, *, what: str) -> None:
        self._stream = stream
        self._what = what
        self._held = b""
        self._stderr = bytearray()

    async def line(self) -> bytes:
        while b"\n" not in self._held:
            if len(self._held) > _LINE_LIMIT:
                raise TransferError(f"{self._what}: the pod says {self._held[:200]!r}, which is no report.")
            self._held += await self._next()
        line, self._held = self._held.split(b"\n", 1)
        return line

    async def some(self, limit: int) -> bytes:
        """The next bytes, at least one and at most ``limit``."""
        data = self._held or await self._next()
        self._held = data[limit:]
        return data[:limit]

    async def _next(self) -> bytes:
        while True:
            frame = await self._stream.receive()
            if frame.channel is Channel.STDOUT and frame.data:
                return frame.data
            if frame.channel is Channel.STDERR and len(self._stderr) < _STDERR_LIMIT:
                self._stderr += frame.data
            elif frame.channel is Channel.ERROR:
                raise self._ended(frame.data)

    def _ended(self, last_word: bytes) -> Exception:
        status = parse_status(last_word)
        if status.exit_code is None:
            return ExecError(f"{self._what}: no process could be started: {status.message}")
        if status.exit_code == 0 or status.exit_code > 128:
            return TransferError(f"{self._what} ended before its last byte (exit code {status.exit_code}).")
        return remote_error(status.exit_code, stderr=bytes(self._stderr), what=self._what)


def _digest(file: BinaryIO, *, keep: Callable[[DigestingReader], None]) -> tuple[int, str]:
    reader = DigestingReader(file)
    keep(reader)
    return reader.size, reader.sha256


def _write(reader: DigestingReader, *, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(reader, file, 256 * 1024)


def _put(place: Path, target: Path, *, mode: int | None) -> None:
    if mode is not None:
        place.chmod(mode)
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
