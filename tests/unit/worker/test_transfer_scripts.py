"""Whole transfers through the real scripts, with the tools of several images, over streams that break."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.unit.worker.fake_kubernetes import FakeKubernetes, refusal, serve
from tests.unit.worker.transfer_pod import IMAGES, TransferPod, make_image, snapshot

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import ExecError, PermanentError, PodGoneError, TransferError
from harbor_aws.worker.transfer import persistence
from harbor_aws.worker.transfer.compression import Compression, Link
from harbor_aws.worker.transfer.download import download_directory, download_file
from harbor_aws.worker.transfer.limits import TransferLimitError, TransferLimits
from harbor_aws.worker.transfer.report import RemoteFileError
from harbor_aws.worker.transfer.upload import upload_directory, upload_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

KIB, MIB = 1024, 1024 * 1024
LARGE = 20 * MIB + 17


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch) -> FakeKubernetes:
    """A cluster whose transfers are done again at once."""
    monkeypatch.setattr(persistence, "_FIRST_PAUSE_SECONDS", 0.01)
    return FakeKubernetes()


@pytest_asyncio.fixture
async def cluster(kubernetes: FakeKubernetes, tmp_path: Path) -> AsyncIterator[Cluster]:
    (tmp_path / "config").mkdir()
    async with serve(kubernetes, tmp_path / "config") as access, Cluster.open(access) as opened:
        yield opened


@pytest.fixture(params=list(IMAGES))
def pod(request: pytest.FixtureRequest, kubernetes: FakeKubernetes, tmp_path: Path) -> TransferPod:
    return use_image(kubernetes, tmp_path, request.param)


@pytest.fixture
def gnu(kubernetes: FakeKubernetes, tmp_path: Path) -> TransferPod:
    return use_image(kubernetes, tmp_path, "gnu")


def use_image(kubernetes: FakeKubernetes, directory: Path, name: str) -> TransferPod:
    made = TransferPod(make_image(directory / "image", name))
    kubernetes.exec = made
    return made


def make_tree(root: Path) -> None:
    """What every image can transfer: no links, and no times of directories."""
    (root / "empty").mkdir(parents=True)
    (root / "deep" / "-er").mkdir(parents=True)
    (root / "deep" / "-er" / "run.sh").write_text("#!/bin/sh\n")
    (root / "deep" / "-er" / "run.sh").chmod(0o755)
    (root / "zero").touch()
    (root / ".hidden").write_text("x")
    (root / "..odd").write_text("y")
    (root / ("n" * 250)).write_bytes(os.urandom(200_000))
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe \n\\ \"'$x*?[")).write_bytes(b"odd")


def contents(root: Path) -> dict[bytes, object]:
    """What the poorest image keeps: names, kinds and contents."""
    return {
        name: entry[3] if entry[0] == "file" else entry[1] if entry[0] == "link" else "directory"
        for name, entry in snapshot(root).items()
    }


async def test_a_tree_there_and_back(pod: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """With GNU's tools, with BusyBox, without tar, and with nearly nothing: a tree is the same after both ways."""
    make_tree(tmp_path / "there")
    await upload_directory(cluster, "p", tmp_path / "there", str(tmp_path / "pod" / "made" / "x"), patience_seconds=0)
    assert contents(tmp_path / "pod" / "made" / "x") == contents(tmp_path / "there")
    await download_directory(cluster, "p", str(tmp_path / "pod" / "made" / "x"), tmp_path / "back", patience_seconds=0)
    assert contents(tmp_path / "back") == contents(tmp_path / "there")
    assert pod.execs == 2
    assert [path.name for path in (tmp_path / "pod" / "made").iterdir()] == ["x"]


@pytest.mark.parametrize("image", ["gnu", "busybox", "fallback"])
async def test_links_modes_and_times(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path, image: str) -> None:
    """Modes, times of files and links are kept, hard links too where tar can tell; GNU keeps times of directories."""
    use_image(kubernetes, tmp_path, image)
    source = tmp_path / "there"
    make_tree(source)
    for number, path in enumerate(path for path in source.rglob("*") if path.is_file()):
        path.chmod((0o600, 0o644, 0o755, 0o444)[number % 4])
        os.utime(path, (0, 1_000_000_000 + number))
    (source / "link").symlink_to("deep/-er/run.sh")
    (source / "deep" / "dangling").symlink_to("../no where\n")
    (source / "deep" / "hard").hardlink_to(source / "zero")
    (source / "deep").chmod(0o750)
    for path in source.rglob("*"):
        if path.is_dir():
            os.utime(path, (0, 1_234_567_890))
    os.mkfifo(source / "fifo")
    await upload_directory(cluster, "p", source, str(tmp_path / "pod"), patience_seconds=0)
    await download_directory(cluster, "p", str(tmp_path / "pod"), tmp_path / "back", patience_seconds=0)
    (source / "fifo").unlink()
    there, back = snapshot(source), snapshot(tmp_path / "back")
    if image != "gnu":
        there, back = ({name: _without_extras(entry) for name, entry in tree.items()} for tree in (there, back))
    assert back == there
    assert (tmp_path / "pod" / "zero").samefile(tmp_path / "pod" / "deep" / "hard")


def _without_extras(entry: tuple[object, ...]) -> tuple[object, ...]:
    """Without a directory's time, and without how many names a file has."""
    return entry[:2] if entry[0] == "directory" else entry[:4]


async def test_a_file_there_and_back(pod: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """Large and empty files arrive whole with every image, and into directories under their own names, whatever these
    are called."""
    there = tmp_path / "my code base"
    there.mkdir()
    for name, size in (("large", LARGE), ("zero", 0)):
        (tmp_path / name).write_bytes(os.urandom(size))
        (tmp_path / name).chmod(0o755)
        await upload_file(cluster, "p", tmp_path / name, str(there), patience_seconds=0)
        await download_file(cluster, "p", str(there / name), tmp_path / "back" / name, patience_seconds=0)
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / name).read_bytes()
        assert (tmp_path / "back" / name).stat().st_mode & 0o777 == 0o755
    assert pod.execs == 4
    assert sorted(path.name for path in there.iterdir()) == ["large", "zero"]


async def test_a_files_time_is_kept(gnu: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """A single file's time of change survives both ways."""
    (tmp_path / "file").write_text("x")
    os.utime(tmp_path / "file", (0, 1_111_111_111))
    await upload_file(cluster, "p", tmp_path / "file", str(tmp_path / "pod" / "file"))
    await download_file(cluster, "p", str(tmp_path / "pod" / "file"), tmp_path / "back")
    assert (tmp_path / "pod" / "file").stat().st_mtime == 1_111_111_111
    assert (tmp_path / "back").stat().st_mtime == 1_111_111_111


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
async def test_compressed(gnu: TransferPod, cluster: Cluster, tmp_path: Path, compression: Compression) -> None:
    """What is compressed on its way is the same at its end; zstd where both sides have it, or else gzip."""
    make_tree(tmp_path / "there")
    (tmp_path / "there" / "large").write_bytes(bytes(LARGE))
    for target in ("1", "2"):  # zstd is only in the second image
        await upload_directory(
            cluster, "p", tmp_path / "there", str(tmp_path / "pod" / target), compression=compression
        )
        await download_directory(
            cluster, "p", str(tmp_path / "pod" / target), tmp_path / target, compression=compression
        )
        assert contents(tmp_path / target) == contents(tmp_path / "there")
        await upload_file(
            cluster, "p", tmp_path / "there" / "large", str(tmp_path / "pod" / f"f{target}"), compression=compression
        )
        await download_file(
            cluster, "p", str(tmp_path / "pod" / f"f{target}"), tmp_path / f"f{target}", compression=compression
        )
        assert (tmp_path / f"f{target}").stat().st_size == LARGE
        if target == "1" and Path("/usr/bin/zstd").exists():
            (tmp_path / "image" / "zstd").symlink_to("/usr/bin/zstd")


async def test_a_compressor_that_fails(gnu: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """A program that dies in the middle fails the transfer, even if what it left can be read; nothing is kept."""
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    (tmp_path / "image" / "gzip").unlink()
    (tmp_path / "image" / "gzip").write_text("#!/bin/sh\nhead -c 1000\nexit 1\n")
    (tmp_path / "image" / "gzip").chmod(0o755)
    compression = Compression.GZIP
    target = str(tmp_path / "pod" / "x")
    with pytest.raises(RemoteFileError):
        await upload_file(cluster, "p", tmp_path / "file", target, compression=compression, patience_seconds=0)
    with pytest.raises(TransferError):
        await download_file(
            cluster, "p", str(tmp_path / "file"), tmp_path / "y", compression=compression, patience_seconds=0
        )
    assert list((tmp_path / "pod").iterdir()) == []
    assert not (tmp_path / "y").exists()


async def test_sparse_files_stay_sparse(gnu: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """A file with holes has them at the other end as well, alone and in a directory, where there is GNU tar."""
    source = tmp_path / "there" / "sparse"
    source.parent.mkdir()
    with source.open("wb") as file:
        for position in range(1, 30):
            file.seek(position * 10 * MIB)
            file.write(b"data")
        file.truncate(400 * MIB)
    pod = tmp_path / "pod"
    await upload_directory(cluster, "p", source.parent, str(pod / "tree"))
    await download_directory(cluster, "p", str(pod / "tree"), tmp_path / "back")
    await upload_file(cluster, "p", source, str(pod / "file"))
    await download_file(cluster, "p", str(pod / "file"), tmp_path / "file")
    for copy in (pod / "tree" / "sparse", tmp_path / "back" / "sparse", pod / "file", tmp_path / "file"):
        assert copy.stat().st_size == 400 * MIB
        assert copy.stat().st_blocks * 512 < 4 * MIB
        with copy.open("rb") as file:
            file.seek(290 * MIB)
            assert file.read(5) == b"data\0"


async def test_an_upload_over_what_is_there(pod: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """Files of the target that the source does not have stay; what it has is replaced, and links are not followed."""
    target, elsewhere, source = tmp_path / "pod", tmp_path / "elsewhere", tmp_path / "source"
    (target / "both").mkdir(parents=True)
    (target / "both" / "kept").write_text("kept")
    (target / "kept").write_text("kept")
    (target / "old").write_text("old")
    elsewhere.mkdir()
    (target / "link").symlink_to(elsewhere)
    (source / "both" / "new").mkdir(parents=True)
    (source / "link").mkdir()
    (source / "link" / "file").write_text("x")
    (source / "old").write_text("new")
    for number in range(450):
        (source / f"many {number}").touch()
    await upload_directory(cluster, "p", source, f"{target}/", patience_seconds=0)
    assert (target / "both" / "kept").read_text() == (target / "kept").read_text() == "kept"
    assert (target / "both" / "new").is_dir()
    assert (target / "old").read_text() == "new"
    assert (target / "link" / "file").exists()
    assert list(elsewhere.iterdir()) == []
    assert len(list(target.iterdir())) == 454


@pytest.mark.parametrize("cut", [0, 10, 5_000, 150_000, 250_000])
async def test_a_cut_upload_starts_again(gnu: TransferPod, cluster: Cluster, tmp_path: Path, cut: int) -> None:
    """Wherever the stream is cut, the target is not there until the transfer that was begun anew is whole."""
    make_tree(tmp_path / "there")
    (tmp_path / "there" / "z").write_bytes(os.urandom(200_000))
    target = tmp_path / "pod" / "x"
    gnu.cut_after = [cut, cut]
    with pytest.raises((TransferError, ExecError)):
        await upload_directory(cluster, "p", tmp_path / "there", str(target), patience_seconds=0)
    assert not target.exists()
    gnu.cut_after = [cut, None]
    await upload_directory(cluster, "p", tmp_path / "there", str(target), patience_seconds=30)
    assert contents(target) == contents(tmp_path / "there")
    assert gnu.execs == 3
    assert [path.name for path in (tmp_path / "pod").iterdir()] == ["x"]


@pytest.mark.parametrize("cut", [0, 30, 5_000, 300_000])
async def test_a_cut_download_starts_again(gnu: TransferPod, cluster: Cluster, tmp_path: Path, cut: int) -> None:
    """Wherever the stream is cut, nothing is here until the transfer that was begun anew is whole."""
    make_tree(tmp_path / "pod")
    (tmp_path / "pod" / "z").write_bytes(os.urandom(400_000))
    gnu.cut_after = [cut, cut, cut, None]
    with pytest.raises((TransferError, ExecError)):
        await download_directory(cluster, "p", str(tmp_path / "pod"), tmp_path / "back", patience_seconds=0)
    assert not (tmp_path / "back").exists()
    await download_directory(cluster, "p", str(tmp_path / "pod"), tmp_path / "back", patience_seconds=30)
    assert contents(tmp_path / "back") == contents(tmp_path / "pod")
    assert gnu.execs == 4


@pytest.mark.parametrize("image", ["gnu", "busybox", "fallback"])
async def test_what_is_changed_on_its_way_is_noticed(
    kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path, image: str
) -> None:
    """One bit that flips in a file's content fails that attempt where there is a digest, and the next one is right."""
    pod = use_image(kubernetes, tmp_path, image)
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    pod.change = 1
    with pytest.raises(TransferError, match="SHA-256"):
        await upload_file(cluster, "p", tmp_path / "file", str(tmp_path / "pod" / "x"), patience_seconds=0)
    assert not (tmp_path / "pod" / "x").exists()
    pod.change = 1
    await upload_file(cluster, "p", tmp_path / "file", str(tmp_path / "pod" / "x"))
    pod.change = 1
    await download_file(cluster, "p", str(tmp_path / "pod" / "x"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    assert pod.execs == 5


@pytest.mark.parametrize("status", [401, 500, 503])
async def test_an_api_server_that_refuses_for_a_while(
    gnu: TransferPod, kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path, status: int
) -> None:
    """Answers that may pass are waited out."""
    (tmp_path / "file").write_text("x")
    answers = [refusal(status) for _ in range(5)]

    async def refuse(_word: str) -> web.Response | None:
        return answers.pop() if answers else None

    kubernetes.interfere = refuse
    await upload_file(cluster, "p", tmp_path / "file", str(tmp_path / "pod" / "file"))
    assert not answers
    assert (tmp_path / "pod" / "file").read_text() == "x"


async def test_what_is_final_is_not_tried_again(
    gnu: TransferPod, kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path
) -> None:
    """Files that are not there or in the way, limits, and a pod that is gone end a transfer at its first attempt."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(RemoteFileError):
        await upload_file(cluster, "p", tmp_path / "file", str(tmp_path / "file" / "below"))
    with pytest.raises(RemoteFileError, match="no directory"):
        await upload_directory(cluster, "p", tmp_path / "config", str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        await download_file(cluster, "p", str(tmp_path / "nowhere"), tmp_path / "x")
    with pytest.raises(TransferLimitError, match="size_bytes"):
        await download_file(cluster, "p", str(tmp_path / "file"), tmp_path / "x", limits=TransferLimits(size_bytes=0))
    assert gnu.execs == 4

    async def gone(_word: str) -> web.Response:
        return refusal(404)

    kubernetes.interfere = gone
    with pytest.raises(PodGoneError):
        await download_file(cluster, "p", "/x", tmp_path / "x")


async def test_an_image_that_cannot_receive(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """Without head and dd there is one clear error, and no other attempt."""
    pod = use_image(kubernetes, tmp_path, "minimal")
    (tmp_path / "image" / "head").unlink()
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermanentError, match="head"):
        await upload_file(cluster, "p", tmp_path / "file", str(tmp_path / "x"))
    assert pod.execs == 1


async def test_a_large_file_that_changes_while_it_is_sent(gnu: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """A file that is read twice at once, and differs, is read once in the attempt after that."""
    real = tmp_path / "image" / "openssl"
    program = real.readlink()
    real.unlink()
    log = tmp_path / "log"
    real.write_text(f'#!/bin/sh\n[ "$(readlink /proc/self/fd/0)" != {log} ] || echo x >>{log}\nexec {program} "$@"\n')
    real.chmod(0o755)
    log.write_bytes(os.urandom(LARGE))
    await download_file(cluster, "p", str(log), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == log.read_bytes()
    assert gnu.execs in (1, 2)  # what is appended may have come in time to be sent


@pytest.mark.parametrize("image", ["gnu", "busybox", "fallback"])
async def test_excluded_and_named(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path, image: str) -> None:
    """Patterns and names mean the same with every image, be they applied there or here."""
    use_image(kubernetes, tmp_path, image)
    source = tmp_path / "pod"
    for name in ("a.log", "b.txt", "sub/c.log", "sub/d e.txt", "skip/me/x", "keep/skip-not", "-n"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "other").hardlink_to(source / "a.log")
    await download_directory(cluster, "p", str(source), tmp_path / "x", exclude=["*.log", "skip"])
    assert set(contents(tmp_path / "x")) == {
        b"b.txt",
        b"sub",
        b"sub/d e.txt",
        b"keep",
        b"keep/skip-not",
        b"-n",
        b"other",
    }
    assert (tmp_path / "x" / "other").read_text() == "a.log"
    await download_directory(cluster, "p", str(source), tmp_path / "n", names=["sub/d e.txt", "-n", "skip"])
    assert set(contents(tmp_path / "n")) == {b"sub", b"sub/d e.txt", b"-n", b"skip", b"skip/me", b"skip/me/x"}
    await download_directory(cluster, "p", str(source), tmp_path / "none", names=[])
    assert contents(tmp_path / "none") == {}


async def test_a_slow_link_is_compressed_by_itself(gnu: TransferPod, cluster: Cluster, tmp_path: Path) -> None:
    """Only where even the fastest of the last transfers was slow is what comes next compressed."""
    link = Link()
    assert not link.is_slow
    link.measured(size=MIB, seconds=100)
    assert not link.is_slow
    link.measured(size=10 * MIB, seconds=100)
    assert link.is_slow
    link.measured(size=10 * MIB, seconds=0.1)
    assert not link.is_slow


@pytest.mark.root
async def test_who_is_not_root(kubernetes: FakeKubernetes, cluster: Cluster, tmp_path: Path) -> None:
    """A container whose user is not root takes in and gives out what it may, directories that refuse writing too."""
    room = Path(tempfile.mkdtemp())
    try:
        room.chmod(0o777)
        kubernetes.exec = TransferPod(make_image(room / "image", "gnu"), user=65534)
        (room / "image").chmod(0o755)
        make_tree(tmp_path / "there")
        (tmp_path / "there" / "deep").chmod(0o555)
        await upload_directory(cluster, "p", tmp_path / "there", str(room / "made" / "x"), patience_seconds=0)
        await upload_file(cluster, "p", tmp_path / "there" / ".hidden", str(room / "made" / "y"), patience_seconds=0)
        await download_directory(cluster, "p", str(room / "made" / "x"), tmp_path / "back", patience_seconds=0)
        assert contents(tmp_path / "back") == contents(tmp_path / "there")
        assert (room / "made" / "x" / "deep").stat().st_mode & 0o777 == 0o555
        assert (room / "made" / "y").stat().st_uid == 65534
    finally:
        shutil.rmtree(room)
