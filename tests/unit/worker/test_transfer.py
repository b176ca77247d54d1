"""Transfers that do not come to their end."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tenacity import wait_none
from tests.unit.worker.fake_kubernetes import FakeKubernetes, serve

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import InfrastructureError, TransferError
from harbor_aws.worker.transfer import download, upload
from harbor_aws.worker.transfer.pipes import consumed, in_thread, produced
from harbor_aws.worker.transfer.report import RemoteFileError, remote_error
from harbor_aws.worker.transfer.scripts import MISSING_EXIT_CODE, download_file_argv
from harbor_aws.worker.transfer.unpack import TransferLimitError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import BinaryIO

    from aiohttp import web

MIB = 1024 * 1024


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> FakeKubernetes:
    """A cluster that is soon given up."""
    for module in ("download", "upload"):
        monkeypatch.setattr(f"harbor_aws.worker.transfer.{module}.STALL_SECONDS", 0.3)
        monkeypatch.setattr(f"harbor_aws.worker.transfer.{module}.PACK_SECONDS", 0.3)
        monkeypatch.setattr(f"harbor_aws.worker.transfer.{module}.{module}_file.retry.wait", wait_none())
    return FakeKubernetes()


@pytest_asyncio.fixture
async def cluster(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with serve(kubernetes, tmp_path) as access, Cluster.open(access) as opened:
        yield opened


async def test_a_pod_that_never_says_what_it_sends(cluster: Cluster, tmp_path: Path) -> None:
    """A pod that hangs while it stages a file costs a bounded time."""
    with pytest.raises(TransferError, match="nothing came"):
        await download.download_file(cluster, "p", "/file", tmp_path / "file")


async def test_a_download_that_stands_still(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """A pod that stops in the middle of a file costs a bounded time, and leaves nothing here."""

    async def stop_halfway(socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await socket.send_bytes(b"\x01harbor-aws:transfer:10 - -\nhalf")
        await socket.receive()

    kubernetes.exec = stop_halfway
    with pytest.raises(TransferError, match="nothing came"):
        await download.download_file(cluster, "p", "/file", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]


async def test_an_upload_that_stands_still(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """A pod that takes nothing more costs a bounded time."""
    done = asyncio.Event()

    async def read_nothing(_socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await done.wait()

    kubernetes.exec = read_nothing
    with (tmp_path / "file").open("wb") as file:
        file.truncate(64 * MIB)
    with pytest.raises(TransferError, match="nothing came"):
        await upload.upload_file(cluster, "p", tmp_path / "file", "/file")
    done.set()


async def test_a_disk_that_is_full() -> None:
    """This machine's own disk is infrastructure, whether it is written in one go, for a pod or from one."""
    with pytest.raises(TransferError, match="No space left"):
        await in_thread(partial(Path("/dev/full").write_bytes, b"x"))

    def write(file: BinaryIO) -> None:
        Path("/dev/full").write_bytes(file.read())

    async with consumed(write) as (writer, written):
        writer.write(b"x")
        writer.close()
        with pytest.raises(TransferError, match="No space left"):
            await written


async def test_a_file_that_cannot_be_read() -> None:
    """What fails while a file is read here is infrastructure too; what the caller knows how to name is its own."""

    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise OSError("input/output error")

    with pytest.raises(TransferError, match="input/output"):
        async with produced(chunks) as reader:
            await reader.read()
    with pytest.raises(FileNotFoundError):
        await in_thread(Path("/nowhere").stat, known=(FileNotFoundError,))


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_no_file_to_download(tmp_path: Path, *, linked: bool) -> None:
    """A FIFO, or a link to one, where a file is expected is said to be none, instead of being waited for."""
    source = tmp_path / "fifo"
    os.mkfifo(source)
    if linked:
        (tmp_path / "link").symlink_to(source)
        source = tmp_path / "link"
    result = subprocess.run(
        download_file_argv(secrets.token_hex(8), source=str(source)), capture_output=True, timeout=30, check=False
    )
    assert result.returncode == MISSING_EXIT_CODE
    assert b"no regular file" in result.stderr


def test_whose_failure_it_is() -> None:
    """What the pod's files do not allow is the pod's; a process that was killed there is not known to be."""
    assert isinstance(remote_error(74, stderr=b"", what="it"), RemoteFileError)
    assert isinstance(remote_error(137, stderr=b"", what="it"), TransferError)
    assert issubclass(TransferLimitError, RemoteFileError)
    assert not issubclass(RemoteFileError, InfrastructureError)
