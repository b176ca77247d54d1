"""Transfers that do not come to their end, and the parts that see to it."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.worker.fake_kubernetes import FakeKubernetes, serve

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import ExecError, InfrastructureError, PermanentError, TransferError
from harbor_aws.worker import outages
from harbor_aws.worker.exec.command import ShellMissingError
from harbor_aws.worker.transfer import download, persistence, upload
from harbor_aws.worker.transfer.compression import Compression, compressed, decompressed
from harbor_aws.worker.transfer.digest import Digest
from harbor_aws.worker.transfer.frames import Ahead, frames
from harbor_aws.worker.transfer.limits import TransferLimitError, TransferLimits
from harbor_aws.worker.transfer.member import ArchiveError
from harbor_aws.worker.transfer.persistence import Progress, persistently
from harbor_aws.worker.transfer.report import RemoteFileError, last_word_error, remote_error, words_after
from harbor_aws.worker.transfer.threads import (
    QUEUE_BYTES,
    AbandonedError,
    LocalFileError,
    consumed,
    in_thread,
    produced,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from aiohttp import web

    from harbor_aws.worker.transfer.threads import ToThread

MIB = 1024 * 1024


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> FakeKubernetes:
    """A cluster that is soon given up."""
    for module in (upload, download):
        monkeypatch.setattr(module, "STALL_SECONDS", 0.3)
    return FakeKubernetes()


@pytest_asyncio.fixture
async def cluster(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with serve(kubernetes, tmp_path) as access, Cluster.open(access) as opened:
        yield opened


async def test_a_pod_that_never_says_anything(cluster: Cluster, tmp_path: Path) -> None:
    """A pod that hangs before it sends or takes a byte costs a bounded time."""
    with pytest.raises(TransferError, match="nothing came"):
        await download.download_file(cluster, "p", "/file", tmp_path / "file", patience_seconds=0)
    with pytest.raises(TransferError, match="nothing came"):
        await upload.upload_file(cluster, "p", tmp_path / "kubeconfig", "/file", patience_seconds=0)


async def test_a_download_that_stands_still(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """A pod that stops in the middle of a file costs a bounded time, and leaves nothing here."""

    async def stop_halfway(socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await socket.send_bytes(b"\x01harbor-aws:transfer:sending file none whole 644 -\nhalf")
        await socket.receive()

    kubernetes.exec = stop_halfway
    with pytest.raises(TransferError, match="nothing came"):
        await download.download_file(cluster, "p", "/file", tmp_path / "file", patience_seconds=0)
    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]


async def test_an_upload_that_stands_still(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """A pod that takes nothing more costs a bounded time."""
    done = asyncio.Event()

    async def read_nothing(socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await socket.send_bytes(b"\x01harbor-aws:transfer:ready exact\n")
        await done.wait()

    kubernetes.exec = read_nothing
    with (tmp_path / "file").open("wb") as file:
        file.truncate(64 * MIB)
    with pytest.raises(TransferError, match="nothing came"):
        await upload.upload_file(cluster, "p", tmp_path / "file", "/file", patience_seconds=0)
    done.set()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"sending file none whole 644 -\nx", TransferError),
        (b"sending file bzip2 whole 644 -\nx", ArchiveError),
        (b"sending file none\nx", TransferError),
        (b"sending file none whole rwx -\nx", ArchiveError),
        (b"sending tar none whole - -\nx", ArchiveError),
        (b"sending list none whole - -\nx", ArchiveError),
        (b"sending tar gzip whole - -\nx", ArchiveError),
        (b"hello\nx", TransferError),
        (b"x" * 10_000, TransferError),
    ],
)
async def test_a_pod_that_says_nonsense(
    kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path, said: bytes, error: type[Exception]
) -> None:
    """Whatever a hostile pod says, a download is an error that names it, and leaves nothing."""

    async def say(socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await socket.send_bytes(b"\x01harbor-aws:transfer:" + said)
        await socket.send_bytes(b"\x02harbor-aws:transfer:sent 77\n")
        await socket.send_bytes(b'\x03{"status":"Success"}')

    kubernetes.exec = say
    with pytest.raises(error):
        await download.download_file(cluster, "p", "/file", tmp_path / "file", patience_seconds=0)
    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]


async def test_a_pod_that_sends_without_end(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """An archive of nothing but padding is ended by the limit on bytes."""

    async def send_zeros(socket: web.WebSocketResponse, _argv: list[str]) -> None:
        await socket.send_bytes(b"\x01harbor-aws:transfer:sending tar none whole - -\n")
        while not socket.closed:
            await socket.send_bytes(b"\x01" + bytes(65536))

    kubernetes.exec = send_zeros
    limits = TransferLimits(size_bytes=MIB, members=10)
    with pytest.raises(TransferLimitError, match="size_bytes"):
        await download.download_directory(cluster, "p", "/d", tmp_path / "d", limits=limits, patience_seconds=0)


async def test_patience_counts_from_the_last_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that gets further than all before it buys time for others; one that does not, none."""
    monkeypatch.setattr(persistence, "_FIRST_PAUSE_SECONDS", 0.01)
    sizes = iter([1, 2, 3, 4])
    attempts = 0

    async def cut(progress: Progress) -> None:
        nonlocal attempts
        attempts += 1
        size = next(sizes, 4)
        await asyncio.sleep(0.15 if size < 4 else 0)
        progress.reached(size)
        raise ExecError("cut")

    with pytest.raises(ExecError):
        await persistently(cut, patience_seconds=0.3, what="It")
    assert attempts > 4


@pytest.fixture
def all_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short an outage is."""
    monkeypatch.setattr(outages, "ORDINARY_SECONDS", 0.0)
    monkeypatch.setattr(persistence, "_FIRST_PAUSE_SECONDS", 0.01)


@pytest.mark.usefixtures("all_counts")
async def test_a_transfer_that_is_cut_says_how_long_nothing_came_of_it() -> None:
    """Whoever ran out of time in a transfer that did not get on did so for that; what is behind it, too."""
    told: list[float] = []
    is_cut = asyncio.Event()

    async def cut(progress: Progress) -> None:
        progress.heard()
        progress.reached(1)
        await asyncio.sleep(0.05)
        is_cut.set()
        raise ExecError("cut")

    transfer = asyncio.create_task(persistently(cut, patience_seconds=60, what="It", on_outage=told.append))
    await is_cut.wait()
    await asyncio.sleep(0.05)
    transfer.cancel()
    await asyncio.gather(transfer, return_exceptions=True)
    assert max(told) >= 0.1


@pytest.mark.usefixtures("all_counts")
async def test_a_transfer_that_stands_still_says_so_when_nobody_waits_any_more() -> None:
    """A connection that is dead looks like a pod that is slow, until the time is over."""
    told: list[float] = []

    async def stand_still(progress: Progress) -> None:
        progress.heard()
        progress.reached(1)
        told.clear()
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await persistently(stand_still, patience_seconds=60, what="It", on_outage=told.append)
    assert len(told) == 1


@pytest.mark.usefixtures("all_counts")
@pytest.mark.parametrize("error", [None, FileNotFoundError(), ExecError("cut")])
async def test_a_pod_that_is_heard_of_late(error: Exception | None) -> None:
    """That a stream could be opened only after a while is told, whatever comes of it; what follows is no outage."""
    told: list[float] = []

    async def late(progress: Progress) -> None:
        await asyncio.sleep(0.05)
        progress.heard()
        progress.reached(1)
        if error is not None:
            raise error

    await asyncio.gather(
        persistently(late, patience_seconds=0, what="It", on_outage=told.append), return_exceptions=True
    )
    assert sum(told) >= 0.05
    assert told[0] == max(told)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(),
        RemoteFileError(),
        TransferLimitError("", limit="members"),
        LocalFileError(),
        ShellMissingError(),
        PermanentError(),
    ],
)
async def test_what_no_other_attempt_can_mend(error: Exception) -> None:
    """What is final is raised by the first attempt."""
    attempts = 0

    async def fail(_progress: Progress) -> None:
        nonlocal attempts
        attempts += 1
        raise error

    with pytest.raises(type(error)):
        await persistently(fail, patience_seconds=60, what="It")
    assert attempts == 1


async def test_a_disk_that_is_full() -> None:
    """This machine's own disk is infrastructure, whether it is written in one go, for a pod or from one."""
    with pytest.raises(TransferError, match="No space left"):
        await in_thread(partial(Path("/dev/full").write_bytes, b"x"))

    def write(pieces: Iterable[bytes]) -> None:
        Path("/dev/full").write_bytes(b"".join(pieces))

    async with consumed(write) as (queue, written):
        await queue.put(b"x")
        queue.end()
        with pytest.raises(TransferError, match="No space left"):
            await written


async def test_a_file_that_cannot_be_read() -> None:
    """What fails while a file is read here is infrastructure too; what the caller knows how to name is its own."""

    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise OSError("input/output error")

    async def drain(pieces: Callable[[], Iterator[bytes]]) -> None:
        async with produced(pieces) as queue:
            while await queue.get():
                pass

    with pytest.raises(TransferError, match="input/output"):
        await drain(pieces)
    with pytest.raises(FileNotFoundError):
        await in_thread(Path("/nowhere").stat, known=(FileNotFoundError,))


async def test_queues_are_bounded() -> None:
    """Neither side runs ahead of the other by more than the queue holds, and nothing is lost between them."""
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        for number in range(500):
            made += 1
            yield bytes([number % 256]) * 65536

    async with produced(pieces) as queue:
        await asyncio.sleep(0.2)
        assert made * 65536 <= QUEUE_BYTES + 3 * 65536
        got = []
        while piece := await queue.get():
            got.append(piece[0])
    assert got == [number % 256 for number in range(500)]

    def count(pieces: Iterable[bytes]) -> list[int]:
        return list(b"".join(pieces)[::65536])

    async with consumed(count) as (filled, counted):
        for number in range(500):
            await filled.put(bytes([number % 256]) * 65536)
        filled.end()
        assert await counted == [number % 256 for number in range(500)]


async def test_a_queue_whose_other_side_is_gone() -> None:
    """Who fills or reads a queue that the other side left is told, instead of waiting for ever."""

    def stop_at_once(pieces: Iterable[bytes]) -> str:
        next(iter(pieces))
        return "enough"

    async def fill(queue: ToThread) -> None:
        for _ in range(1000):
            await queue.put(bytes(65536))

    async with consumed(stop_at_once) as (queue, result):
        with pytest.raises(AbandonedError):
            await fill(queue)
        assert await result == "enough"
    async with produced(lambda: iter([bytes(65536)] * 1000)) as unread:
        await unread.get()
        unread.abandon()


@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=30), st.integers(1, 5000))
def test_any_pieces_in_frames(pieces: list[bytes], frame_bytes: int) -> None:
    """What the script reads by the stated lengths is what was sent, and the end says its size and digest."""
    content = b"".join(pieces)
    for sent in (
        b"".join(frames(iter(pieces), frame_bytes=frame_bytes)),
        b"".join(frames([Ahead(len(content)), *pieces], frame_bytes=frame_bytes)),
        b"".join(frames([Ahead(len(content)), *pieces], whole=True, frame_bytes=frame_bytes)),
    ):
        found, rest = b"", sent
        while not rest.startswith(b"end "):
            length, _, rest = rest.partition(b"\n")
            found, rest = found + rest[: int(length)], rest[int(length) :]
        digest = Digest()
        digest.add(content)
        assert found == content
        assert rest == f"end {digest.size} {digest.sha256}\n".encode()


@given(st.lists(st.binary(max_size=3000), max_size=20), st.integers(1, 700), st.sampled_from(list(Compression)))
def test_any_bytes_compressed(pieces: list[bytes], piece: int, compression: Compression) -> None:
    """What is compressed and decompressed is the same, however it is cut; what is cut short is an error."""
    data = b"".join(compressed(pieces, compression))
    cut = (data[start : start + piece] for start in range(0, len(data), piece))
    assert b"".join(decompressed(cut, compression)) == b"".join(pieces)


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_bomb_comes_in_pieces(compression: Compression) -> None:
    """What is compressed a thousandfold is decompressed a piece at a time; junk and a lost end are errors."""
    data = b"".join(compressed((bytes(MIB) for _ in range(64)), compression))
    assert len(data) < MIB
    assert max(map(len, decompressed([data], compression))) <= 16 * MIB
    for bad in ([b"junk" * 100], [data[: len(data) // 2]]):
        with pytest.raises(ArchiveError):
            list(decompressed(bad, compression))


def test_a_digest_that_does_not_agree() -> None:
    """A pod's SHA-256 must be ours; from an image that has no digest its size must be."""
    digest = Digest()
    digest.add(b"abc")
    digest.check("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", what="it")
    digest.check("3", what="it")
    for theirs in ("2", "", "ba7816bf"):
        with pytest.raises(TransferError, match="whole"):
            digest.check(theirs, what="it")


def test_whose_failure_it_is() -> None:
    """What the pod's files do not allow is the pod's; a process that was killed there is not known to be."""
    assert isinstance(remote_error(74, stderr=b"", what="it"), RemoteFileError)
    assert isinstance(remote_error(75, stderr=b"", what="it"), TransferError)
    assert isinstance(remote_error(137, stderr=b"", what="it"), TransferError)
    assert issubclass(TransferLimitError, RemoteFileError)
    assert not issubclass(RemoteFileError, InfrastructureError)


def test_an_image_without_a_shell() -> None:
    """That no shell could be started is one clear error; any other failure to start may pass."""
    said = b'{"status":"Failure","message":"exec: \\"sh\\": executable file not found in $PATH"}'
    assert isinstance(last_word_error(said, stderr=b"", what="it"), ShellMissingError)
    assert type(last_word_error(b'{"status":"Failure","message":"x"}', stderr=b"", what="it")) is ExecError
    assert last_word_error(b'{"status":"Success"}', stderr=b"", what="it") is None


def test_what_a_script_says() -> None:
    """The last line with the word counts, whatever else is printed; without it there is an error."""
    printed = b"harbor-aws:transfer:sent a\nnoise\nharbor-aws:transfer:sent b c\nharbor-aws:transfer:sentence"
    assert words_after("sent", printed, what="it") == ["b", "c"]
    with pytest.raises(TransferError, match="should say"):
        words_after("done", printed, what="it")
