"""Files into real pods and out of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import PodGoneError
from harbor_aws.worker.exec.command import run_command
from harbor_aws.worker.exec.command_script import Command
from harbor_aws.worker.transfer.compression import Compression
from harbor_aws.worker.transfer.download import download_directory, download_file
from harbor_aws.worker.transfer.limits import TransferLimitError, TransferLimits
from harbor_aws.worker.transfer.report import RemoteFileError
from harbor_aws.worker.transfer.upload import upload_directory, upload_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from harbor_aws.worker.pod import Pod
    from harbor_aws.worker.pods import PodKeeper

    RunPod = Callable[..., AbstractAsyncContextManager[Pod]]

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

MIB = 1024 * 1024


async def sh(keeper: PodKeeper, pod: Pod, text: str, *, user: str | None = None) -> str:
    """What a command prints; it must succeed."""
    result = await run_command(keeper.cluster, pod.name, Command(text, {}, user=user), timeout_seconds=120)
    assert result.exit_code == 0, result
    return result.stdout


def make_tree(root: Path) -> None:
    """Files of all kinds that a task may have."""
    root.mkdir()
    (root / "empty").mkdir()
    (root / "empty.txt").touch()
    (root / "dir" / "deeper").mkdir(parents=True)
    (root / "dir" / "deeper" / "run.sh").write_text("#!/bin/sh\n")
    (root / "dir" / "deeper" / "run.sh").chmod(0o755)
    (root / "dir" / "ü ' \" $x\\ \n.bin").write_bytes(os.urandom(100_000))
    (root / ("n" * 200)).write_text("long name")
    (root / "link").symlink_to("dir/deeper/run.sh")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")


def snapshot(root: Path) -> dict[str, tuple[str, int | None, str]]:
    """Path, kind, mode and content of all that is below ``root``, pipes left out."""
    found: dict[str, tuple[str, int | None, str]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", None, str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", None, "")
        elif path.is_file():
            found[name] = ("file", path.stat().st_mode & 0o777, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


@pytest.mark.parametrize("image", ["debian", "busybox"])
async def test_a_tree_there_and_back(keeper: PodKeeper, debian: Pod, busybox: Pod, tmp_path: Path, image: str) -> None:
    """Contents, modes, links, empty directories and odd names survive both ways; pipes are left out."""
    pod = debian if image == "debian" else busybox
    make_tree(tmp_path / "there")
    await upload_directory(keeper.cluster, pod.name, tmp_path / "there", "/data/there and back")
    assert await sh(
        keeper, pod, "ls -ld '/data/there and back' | cut -c1-10; stat -c %u '/data/there and back/dir'"
    ) == ("drwxr-xr-x\n0\n")
    await download_directory(keeper.cluster, pod.name, "/data/there and back", tmp_path / "back")
    (tmp_path / "there" / "fifo").unlink()
    assert snapshot(tmp_path / "back") == snapshot(tmp_path / "there")


async def test_an_upload_adds_to_what_is_there(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """Files of the target that the source does not have stay, and the target's own mode does too."""
    (tmp_path / "source").mkdir(mode=0o700)
    (tmp_path / "source" / "new").write_text("new")
    (tmp_path / "source" / "old").write_text("newer")
    await sh(keeper, debian, "mkdir -m 777 /data2; echo kept >/data2/kept; echo old >/data2/old")
    await upload_directory(keeper.cluster, debian.name, tmp_path / "source", "/data2")
    assert await sh(keeper, debian, "cd /data2; cat kept old new; stat -c %a .") == "kept\nnewernew777\n"


async def test_a_download_overwrites_what_is_there(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """Files of the target that the source does not have stay; what it has is overwritten, of whatever kind it was."""
    target = tmp_path / "target"
    (target / "was-a-directory" / "x").mkdir(parents=True)
    (target / "was-a-file").write_text("")
    (target / "kept").write_text("kept")
    (target / "both").mkdir()
    (target / "both" / "kept").write_text("kept")
    await sh(keeper, debian, "mkdir -p /d3/was-a-file /d3/both; cd /d3; echo 1 >was-a-directory; echo 2 >both/new")
    await download_directory(keeper.cluster, debian.name, "/d3", target)
    assert {name: kind for name, (kind, _, _) in snapshot(target).items()} == {
        "both": "directory",
        "both/kept": "file",
        "both/new": "file",
        "kept": "file",
        "was-a-directory": "file",
        "was-a-file": "directory",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


@pytest.mark.slow
@pytest.mark.parametrize("image", ["debian", "busybox"])
async def test_64_mebibytes(keeper: PodKeeper, debian: Pod, busybox: Pod, tmp_path: Path, image: str) -> None:
    """A large file arrives whole both ways, as a file and in a directory."""
    pod = debian if image == "debian" else busybox
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(64 * MIB))
    await upload_file(keeper.cluster, pod.name, source / "large", "/large/file")
    await upload_directory(keeper.cluster, pod.name, source, "/large/tree")
    await download_file(keeper.cluster, pod.name, "/large/tree/large", tmp_path / "file")
    await download_directory(keeper.cluster, pod.name, "/large", tmp_path / "all")
    expected = hashlib.sha256((source / "large").read_bytes()).hexdigest()
    for copy in ("file", "all/file", "all/tree/large"):
        assert hashlib.sha256((tmp_path / copy).read_bytes()).hexdigest() == expected
    await sh(keeper, pod, "rm -r /large")


@pytest.mark.slow
async def test_five_thousand_files(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """Many small files are one transfer."""
    source = tmp_path / "source"
    for number in range(5000):
        directory = source / f"{number % 50}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number}").write_bytes(number.to_bytes(2) * 1024)
    before = keeper.cluster.requests.copy()
    await upload_directory(keeper.cluster, debian.name, source, "/many")
    await download_directory(keeper.cluster, debian.name, "/many", tmp_path / "back")
    assert (keeper.cluster.requests - before)["EXEC"] == 2
    assert snapshot(tmp_path / "back") == snapshot(source)


async def test_a_file_there_and_back(keeper: PodKeeper, busybox: Pod, tmp_path: Path) -> None:
    """A file keeps its content and whether it can be executed; directories on its way are made."""
    source = tmp_path / "run.sh"
    source.write_bytes(b"#!/bin/sh\n\0\xff")
    source.chmod(0o755)
    await upload_file(keeper.cluster, busybox.name, source, "/made/on the/way.sh")
    await download_file(keeper.cluster, busybox.name, "/made/on the/way.sh", tmp_path / "a" / "b.sh")
    assert (tmp_path / "a" / "b.sh").read_bytes() == source.read_bytes()
    assert (tmp_path / "a" / "b.sh").stat().st_mode & 0o777 == 0o755


async def test_a_file_into_a_directory(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """As with `cp`, a target that is a directory, or ends like one, gets the file under its own name."""
    (tmp_path / "name").write_text("x")
    await sh(keeper, debian, "mkdir -p /into")
    await upload_file(keeper.cluster, debian.name, tmp_path / "name", "/into")
    await upload_file(keeper.cluster, debian.name, tmp_path / "name", "/into/new/")
    assert await sh(keeper, debian, "cat /into/name /into/new/name") == "xx"
    (tmp_path / "here").mkdir()
    await download_file(keeper.cluster, debian.name, "/into/name", tmp_path / "here")
    assert (tmp_path / "here" / "name").read_text() == "x"


async def test_an_empty_file_and_an_empty_directory(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """Nothing is something that can be transferred."""
    (tmp_path / "nothing").mkdir()
    (tmp_path / "zero").touch()
    await upload_directory(keeper.cluster, debian.name, tmp_path / "nothing", "/nothing")
    await upload_file(keeper.cluster, debian.name, tmp_path / "zero", "/nothing/zero")
    await download_directory(keeper.cluster, debian.name, "/nothing", tmp_path / "back")
    assert snapshot(tmp_path / "back") == {"zero": ("file", 0o644, hashlib.sha256(b"").hexdigest())}


async def test_what_is_missing_is_said_so(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """A source that is not there is FileNotFoundError, which is no failure of the infrastructure."""
    with pytest.raises(FileNotFoundError, match="/no/such"):
        await download_file(keeper.cluster, debian.name, "/no/such", tmp_path / "x")
    with pytest.raises(FileNotFoundError, match="/no/such"):
        await download_directory(keeper.cluster, debian.name, "/no/such", tmp_path / "x")
    with pytest.raises(FileNotFoundError, match="directory"):
        await download_file(keeper.cluster, debian.name, "/etc", tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        await upload_file(keeper.cluster, debian.name, tmp_path / "none", "/x")
    with pytest.raises(NotADirectoryError):
        await upload_directory(keeper.cluster, debian.name, tmp_path / "none", "/x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image", ["debian", "busybox"])
async def test_a_pipe_is_no_file(keeper: PodKeeper, debian: Pod, busybox: Pod, tmp_path: Path, image: str) -> None:
    """A FIFO or a device where a file is expected, or a link to one, is said to be none, and never waited for."""
    pod = debian if image == "debian" else busybox
    await sh(keeper, pod, "mkfifo /fifo; ln -s /fifo /fifo-link; ln -s /dev/zero /endless")
    for source in ("/fifo", "/fifo-link", "/endless"):
        with pytest.raises(FileNotFoundError, match="no regular file"):
            await download_file(keeper.cluster, pod.name, source, tmp_path / "x")


async def test_a_target_that_cannot_be_is_said_so(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """A file where a directory should be is the pod's own doing, and is not tried again."""
    (tmp_path / "file").write_text("x")
    before = keeper.cluster.requests["EXEC"]
    with pytest.raises(RemoteFileError, match="passwd"):
        await upload_file(keeper.cluster, debian.name, tmp_path / "file", "/etc/passwd/x")
    with pytest.raises(RemoteFileError, match="passwd"):
        await upload_directory(keeper.cluster, debian.name, tmp_path, "/etc/passwd/x")
    assert keeper.cluster.requests["EXEC"] - before == 2


async def test_excluded_and_named_files(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """Patterns leave files out; names bring only themselves."""
    await sh(keeper, debian, "mkdir -p /d4/sub; cd /d4; touch a.log b.txt sub/c.log 'sub/d e.txt'")
    await download_directory(keeper.cluster, debian.name, "/d4", tmp_path / "x", exclude=["*.log"])
    assert set(snapshot(tmp_path / "x")) == {"b.txt", "sub", "sub/d e.txt"}
    await download_directory(keeper.cluster, debian.name, "/d4", tmp_path / "n", names=["sub/d e.txt"])
    assert set(snapshot(tmp_path / "n")) == {"sub", "sub/d e.txt"}


@pytest.mark.parametrize("image", ["debian", "busybox"])
async def test_patterns_mean_the_same_everywhere(
    keeper: PodKeeper, debian: Pod, busybox: Pod, tmp_path: Path, image: str
) -> None:
    """BusyBox may be built without what leaves files out and what takes names; both work for all that."""
    pod = debian if image == "debian" else busybox
    await sh(keeper, pod, "mkdir -p /d7/logs/sub /d7/sub; cd /d7; touch a.log b.txt logs/c sub/d.log 'sub/e f' sub/g")
    await download_directory(keeper.cluster, pod.name, "/d7", tmp_path / "x", exclude=["*.log", "logs"])
    assert set(snapshot(tmp_path / "x")) == {"b.txt", "sub", "sub/e f", "sub/g"}
    await download_directory(keeper.cluster, pod.name, "/d7", tmp_path / "n", names=["sub/e f", "a.log"])
    assert set(snapshot(tmp_path / "n")) == {"sub", "sub/e f", "a.log"}


async def test_hostile_contents_are_left_out(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """Links out of the directory, devices and pipes do not come with a download, and do not stop it."""
    await sh(
        keeper,
        debian,
        "mkdir -p /d5/dir; cd /d5; echo x >good; ln -s /etc/passwd abs; ln -s ../../.. dir/up; mkfifo pipe;"
        "ln -s good fine; chmod u+s good",
    )
    await download_directory(keeper.cluster, debian.name, "/d5", tmp_path / "back")
    assert set(snapshot(tmp_path / "back")) == {"dir", "good", "fine"}
    assert not (tmp_path / "back" / "good").stat().st_mode & 0o4000


async def test_a_download_has_limits(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """A download beyond its limits is refused, leaves nothing here, and is no failure of the infrastructure."""
    await sh(keeper, debian, "mkdir -p /d6; cd /d6; touch 1 2 3; head -c 100000 /dev/zero >4")
    for limits in (TransferLimits(members=3), TransferLimits(size_bytes=1000), TransferLimits(path_bytes=2)):
        with pytest.raises(TransferLimitError):
            await download_directory(keeper.cluster, debian.name, "/d6", tmp_path / "back", limits=limits)
    with pytest.raises(TransferLimitError):
        await download_file(keeper.cluster, debian.name, "/d6/4", tmp_path / "4", limits=TransferLimits(size_bytes=9))
    assert list(tmp_path.iterdir()) == []


async def test_nothing_of_a_transfer_is_left_in_the_pod(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """What a transfer needed in the pod is removed, be it done or refused."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    await sh(keeper, debian, "mkdir /left; mkdir -p /left/refused/file; touch /left/refused/file/x")
    await upload_file(keeper.cluster, debian.name, tmp_path / "tree" / "file", "/left/x")
    await upload_directory(keeper.cluster, debian.name, tmp_path / "tree", "/left/new")
    with pytest.raises(RemoteFileError):
        await upload_directory(keeper.cluster, debian.name, tmp_path / "tree", "/left/refused")
    await download_file(keeper.cluster, debian.name, "/left/x", tmp_path / "y")
    await download_directory(keeper.cluster, debian.name, "/left", tmp_path / "z")
    look = "find /left /tmp -name '.harbor-aws-*' | grep . || exit 0; sleep 0.5"
    assert await sh(keeper, debian, f"for i in 1 2 3 4 5 6; do {look}; done") == ""


@pytest.mark.parametrize("missing", ["tar", "tar dd tee openssl"])
async def test_an_image_without_tar(keeper: PodKeeper, run_pod: RunPod, tmp_path: Path, missing: str) -> None:
    """Without tar, and with less than that, the shell does its work, both ways and with one request each."""
    make_tree(tmp_path / "there")
    (tmp_path / "there" / "dir" / "large").write_bytes(os.urandom(5 * MIB + 3))
    async with run_pod(keeper, "debian:bookworm") as pod:
        await sh(keeper, pod, f"for tool in {missing}; do rm $(command -v $tool); done")
        before = keeper.cluster.requests["EXEC"]
        await upload_directory(keeper.cluster, pod.name, tmp_path / "there", "/data/x")
        await download_directory(keeper.cluster, pod.name, "/data/x", tmp_path / "back")
        await upload_file(keeper.cluster, pod.name, tmp_path / "there" / "dir" / "large", "/data/y/")
        await download_file(keeper.cluster, pod.name, "/data/y/large", tmp_path / "large")
        assert keeper.cluster.requests["EXEC"] - before == 4
    (tmp_path / "there" / "fifo").unlink()
    assert snapshot(tmp_path / "back") == snapshot(tmp_path / "there")
    assert (tmp_path / "large").read_bytes() == (tmp_path / "there" / "dir" / "large").read_bytes()


@pytest.mark.parametrize("image", ["debian", "busybox"])
async def test_links_times_and_any_name(
    keeper: PodKeeper, debian: Pod, busybox: Pod, tmp_path: Path, image: str
) -> None:
    """Hard links stay one file, files keep their times and modes, and names may have any byte."""
    pod = debian if image == "debian" else busybox
    source = tmp_path / "there"
    source.mkdir()
    (source / "one").write_text("one")
    (source / "two").hardlink_to(source / "one")
    os.utime(source / "one", (0, 1_111_111_111))
    for number, byte in enumerate(set(range(1, 256)) - {ord("/")}):
        path = Path(os.fsdecode(os.fsencode(source) + b"/any-" + bytes([byte])))
        path.touch(mode=(0o600, 0o755, 0o444)[number % 3])
        os.utime(path, (0, 1_000_000_000 + number))
    await upload_directory(keeper.cluster, pod.name, source, "/links/x")
    assert await sh(keeper, pod, "cd /links/x; [ one -ef two ] && stat -c %Y one") == "1111111111\n"
    await download_directory(keeper.cluster, pod.name, "/links/x", tmp_path / "back")
    assert (tmp_path / "back" / "one").samefile(tmp_path / "back" / "two")
    assert snapshot(tmp_path / "back") == snapshot(source)
    for path in source.iterdir():
        assert (tmp_path / "back" / path.name).stat().st_mtime == path.stat().st_mtime
    await upload_file(keeper.cluster, pod.name, source / "one", "/links/file")
    await download_file(keeper.cluster, pod.name, "/links/file", tmp_path / "file")
    assert (tmp_path / "file").stat().st_mtime == 1_111_111_111


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
async def test_compressed(
    keeper: PodKeeper, debian: Pod, busybox: Pod, tmp_path: Path, compression: Compression
) -> None:
    """What is compressed on its way is the same at its end, with whatever of zstd and gzip the image has."""
    make_tree(tmp_path / "there")
    for pod in (debian, busybox):
        await upload_directory(keeper.cluster, pod.name, tmp_path / "there", "/packed", compression=compression)
        back = tmp_path / pod.name
        await download_directory(keeper.cluster, pod.name, "/packed", back, compression=compression)
        assert snapshot(back) == snapshot(tmp_path / "there")
        await sh(keeper, pod, "rm -r /packed")


async def test_holes_are_no_zeros(keeper: PodKeeper, debian: Pod, tmp_path: Path) -> None:
    """A file of 300 MiB that is nearly all hole takes next to nothing at the other end, where there is GNU tar."""
    (tmp_path / "there").mkdir()
    with (tmp_path / "there" / "sparse").open("wb") as file:
        file.seek(200 * MIB)
        file.write(b"data")
        file.truncate(300 * MIB)
    await upload_directory(keeper.cluster, debian.name, tmp_path / "there", "/holes")
    await upload_file(keeper.cluster, debian.name, tmp_path / "there" / "sparse", "/holes/alone")
    said = await sh(keeper, debian, "cd /holes; stat -c %s sparse alone; du -k sparse alone | cut -f1")
    sizes = [int(word) for word in said.split()]
    assert sizes[:2] == [300 * MIB] * 2
    assert max(sizes[2:]) < 1024
    await download_directory(keeper.cluster, debian.name, "/holes", tmp_path / "back")
    for name in ("sparse", "alone"):
        copy = tmp_path / "back" / name
        assert copy.stat().st_size == 300 * MIB
        assert copy.stat().st_blocks * 512 < MIB
        with copy.open("rb") as file:
            file.seek(200 * MIB)
            assert file.read(5) == b"data\0"


async def test_a_transfer_with_no_pod(keeper: PodKeeper, tmp_path: Path) -> None:
    """A pod that is gone is said so, and the transfer is not tried again."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(PodGoneError):
        await upload_file(keeper.cluster, "no-such-pod", tmp_path / "file", "/x")
    with pytest.raises(PodGoneError):
        await download_file(keeper.cluster, "no-such-pod", "/x", tmp_path / "y")
