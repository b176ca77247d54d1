"""Files into a pod."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import stat
from functools import partial
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import ExecError
from harbor_aws.worker.exec.channels import Channel, parse_status
from harbor_aws.worker.exec.stream import ExecStream
from harbor_aws.worker.transfer.pack import CHUNK_BYTES, file_chunks, plan_directory
from harbor_aws.worker.transfer.pipes import in_thread, produced
from harbor_aws.worker.transfer.progress import PACK_SECONDS, STALL_SECONDS, within
from harbor_aws.worker.transfer.report import TransferReport, remote_error
from harbor_aws.worker.transfer.retry import retried
from harbor_aws.worker.transfer.scripts import upload_file_argv, upload_tar_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from harbor_aws.infra.cluster import Cluster

_NOTHING_MORE = 1024 * 1024  # of a script's own output


@retried
async def upload_directory(cluster: Cluster, pod: str, source: Path, target: str) -> None:
    """Put the contents of a directory into the directory ``target`` of a pod, made if need be.

    Raises:
        NotADirectoryError: there is no such directory here.
        RemoteFileError: the pod's files do not allow it.
        PermanentError: the image has no tar.
        TransferError, ExecError, PodGoneError: the files did not arrive.
    """
    archive = await in_thread(partial(plan_directory, source), known=(NotADirectoryError,))
    stage = secrets.token_hex(8)
    await _upload(
        cluster,
        pod,
        upload_tar_argv(stage, size=archive.size, target=target),
        size=archive.size,
        chunks=archive.chunks,
        what=f"Upload of {source} to {target}",
    )


@retried
async def upload_file(cluster: Cluster, pod: str, source: Path, target: str) -> None:
    """Put a file at ``target`` in a pod, or into it if it is a directory there; its permission bits are kept.

    Raises:
        FileNotFoundError: there is no such file here.
        RemoteFileError: the pod's files do not allow it.
        TransferError, ExecError, PodGoneError: the file did not arrive.
    """
    status = await in_thread(source.stat, known=(FileNotFoundError, NotADirectoryError))
    if stat.S_ISDIR(status.st_mode):
        raise FileNotFoundError(f"{source} is a directory, not a file to upload.")
    stage = secrets.token_hex(8)
    await _upload(
        cluster,
        pod,
        upload_file_argv(
            stage, size=status.st_size, target=target, name=source.name, mode=stat.S_IMODE(status.st_mode)
        ),
        size=status.st_size,
        chunks=partial(file_chunks, source, size=status.st_size),
        what=f"Upload of {source} to {target}",
    )


async def _upload(
    cluster: Cluster, pod: str, argv: list[str], *, size: int, chunks: Callable[[], Iterable[bytes]], what: str
) -> None:
    digest = hashlib.sha256()

    def digested() -> Iterator[bytes]:
        for chunk in chunks():
            digest.update(chunk)
            yield chunk

    async with ExecStream.open(cluster, pod, argv, heartbeat_seconds=None) as stream:
        listening = asyncio.create_task(_listen(stream))
        try:
            async with produced(digested) as reader:
                await _pump(reader, stream, listening, what=what)
            async with within(PACK_SECONDS, what):
                exit_code, stdout, stderr = await listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    if exit_code != 0 and not stdout:
        raise remote_error(exit_code, stderr=stderr, what=what)
    TransferReport.parse(stdout).check(size=size, sha256=digest.hexdigest(), what=what)
    if exit_code != 0:
        raise remote_error(exit_code, stderr=stderr, what=what)


async def _pump(
    reader: asyncio.StreamReader, stream: ExecStream, listening: asyncio.Task[tuple[int, bytes, bytes]], *, what: str
) -> None:
    """Send all there is, unless the pod has its last word before that."""
    while data := await reader.read(CHUNK_BYTES):
        if listening.done():
            break
        try:
            async with within(STALL_SECONDS, what):
                await stream.send(data)
        except ExecError:
            await asyncio.wait({listening}, timeout=1)
            if listening.done() and listening.exception() is None:
                break  # the pod ended it, and has said why
            raise
    if data:
        while await reader.read(CHUNK_BYTES):
            pass


async def _listen(stream: ExecStream) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a script that says little.

    Raises:
        ExecError: the stream ended without a status, or no process could be started.
    """
    said = {Channel.STDOUT: bytearray(), Channel.STDERR: bytearray()}
    while (frame := await stream.receive()).channel is not Channel.ERROR:
        if len(said[frame.channel]) < _NOTHING_MORE:
            said[frame.channel] += frame.data
    status = parse_status(frame.data)
    if status.exit_code is None:
        raise ExecError(f"A transfer could not be run: {status.message}")
    return status.exit_code, bytes(said[Channel.STDOUT]), bytes(said[Channel.STDERR])
