"""Packing and unpacking, without a pod."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.worker.transfer_pod import snapshot

from harbor_aws.infra.errors import TransferError
from harbor_aws.worker.transfer.byte_source import ByteSource
from harbor_aws.worker.transfer.exclude import named, not_excluded
from harbor_aws.worker.transfer.frames import without_announcements
from harbor_aws.worker.transfer.limits import TransferLimitError, TransferLimits
from harbor_aws.worker.transfer.listing import list_members
from harbor_aws.worker.transfer.member import ArchiveError, Kind
from harbor_aws.worker.transfer.merge import merge
from harbor_aws.worker.transfer.pack import directory_entries, tar_pieces
from harbor_aws.worker.transfer.tar_header import header as tar_header
from harbor_aws.worker.transfer.tar_header import number, sparse_header, text
from harbor_aws.worker.transfer.tar_reader import tar_members
from harbor_aws.worker.transfer.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harbor_aws.worker.transfer.pack import Entry

GIB = 1024**3
LIMITS = TransferLimits()


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def symlink(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, tarfile.SYMTYPE, link=to), b""


def directory(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, tarfile.DIRTYPE, mode=0o755), b""


def unpack_tar(data: bytes, target: Path, *, limits: TransferLimits = LIMITS, piece: int = 65536) -> None:
    source = ByteSource(data[start : start + piece] for start in range(0, len(data), piece))
    target.mkdir(exist_ok=True)
    unpack(tar_members(source, limits=limits, what="It"), source, target, limits=limits, what="It")


def hostile(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """Unpacks members together with good ones; all but the target must stay as it was, and the good ones come."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    unpack_tar(tar((member("first"), b"good"), *members, (member("last"), b"good")), tmp_path / "target")
    assert (tmp_path / "target" / "first").read_text() == (tmp_path / "target" / "last").read_text() == "good"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "target"]
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]
    assert (tmp_path / "outside" / "secret").read_text() == "secret"
    for path in (tmp_path / "target").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "target"), f"{path} leads to {path.resolve()}"
        assert not path.is_file() or path.read_text() != "secret"
    return tmp_path / "target"


def test_cve_2018_1002100_names_with_dots(tmp_path: Path) -> None:
    """Names with ``..`` in them, and absolute ones, are left out."""
    outside = tmp_path / "outside" / "new"
    target = hostile(
        tmp_path,
        (member("../outside/new"), b"evil"),
        (member("dir/../../outside/new"), b"evil"),
        (member(".."), b"evil"),
        (member(str(outside)), b"evil"),
        (member("/" + str(outside)), b"evil"),
        directory("../outside/directory"),
    )
    assert {path.name for path in target.iterdir()} == {"first", "last"}


def test_cve_2019_1002101_writing_through_a_link(tmp_path: Path) -> None:
    """Nothing is written through a symbolic link, be it to the outside or to a place within."""
    target = hostile(
        tmp_path,
        symlink("out", str(tmp_path / "outside")),
        (member("out/new"), b"evil"),
        symlink("in", "."),
        (member("in/new"), b"not through the link"),
    )
    assert not (target / "out").is_symlink()
    assert not (target / "new").exists()


def test_cve_2019_11246_a_file_in_place_of_a_link(tmp_path: Path) -> None:
    """A file whose name an earlier link had is a new file, and what the link led to stays as it was."""
    secret = str(tmp_path / "outside" / "secret")
    target = hostile(
        tmp_path,
        symlink("one", secret),
        (member("one"), b"new"),
        symlink("two", "../outside/secret"),
        (member("two"), b"new"),
    )
    assert not (target / "one").is_symlink()
    assert (target / "one").read_text() == (target / "two").read_text() == "new"


def test_cve_2019_11249_links_that_lead_to_links(tmp_path: Path) -> None:
    """No chain of links leads outside, in whichever order they come."""
    target = hostile(
        tmp_path,
        directory("a/b/c"),
        symlink("a/b/c/root", "../../.."),
        symlink("escape", "a/b/c/root/../outside"),
        symlink("escape2", "a/b/c/root/.."),
        symlink("up", ".."),
        symlink("a/up", "../.."),
        symlink("one", "two/../../outside"),
        symlink("two", "a/b"),
        (member("escape/new"), b"evil"),
        (member("escape2/outside/new"), b"evil"),
    )
    assert (target / "a/b/c/root").is_symlink()
    assert not (target / "up").is_symlink()


def test_cve_2019_11251_a_directory_in_place_of_a_link(tmp_path: Path) -> None:
    """A directory whose name a link has, before or after it, is a directory of ours, and what is in it stays inside."""
    target = hostile(
        tmp_path,
        symlink("x", str(tmp_path / "outside")),
        directory("x"),
        (member("x/new"), b"inside"),
        directory("y"),
        symlink("y", "../outside"),
        (member("y/new"), b"inside"),
    )
    assert (target / "x" / "new").read_text() == (target / "y" / "new").read_text() == "inside"


def test_cve_2025_4517_a_path_too_long_to_resolve(tmp_path: Path) -> None:
    """Directories and links whose resolved path is longer than PATH_MAX do not fool the check of where a link leads."""
    name, path, members = "d" * 247, "", []
    for step in "abcdefghijklmnop":
        path = f"{path}/{name}" if path else name
        members += [directory(path), symlink(f"{path[: -len(name)]}{step}", name)]
        path = path[: -len(name)] + name
    links = "/".join("abcdefghijklmnop")
    members += [
        symlink(f"{links}/{'l' * 254}", "../" * 16),
        symlink("escape", f"{links}/{'l' * 254}/../../outside"),
        (member("hard", tarfile.LNKTYPE, link="escape/secret"), b""),
        (member("escape/new"), b"evil"),
    ]
    target = tmp_path / "target"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    unpack_tar(tar(*members), target)
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]
    assert not (target / "escape").is_symlink()
    assert not (target / "hard").exists()
    subprocess.run(["rm", "-rf", target], check=True)


def test_hostile_members_are_left_out(tmp_path: Path) -> None:
    """Devices, FIFOs, hard links to the outside and impossible names are left out; setuid bits are not kept."""
    target = hostile(
        tmp_path,
        (member("hard", tarfile.LNKTYPE, link="../outside/secret"), b""),
        (member("hard2", tarfile.LNKTYPE, link=str(tmp_path / "outside" / "secret")), b""),
        symlink("soft", "../outside"),
        (member("hard3", tarfile.LNKTYPE, link="soft/secret"), b""),
        (member("itself", tarfile.LNKTYPE, link="itself"), b""),
        (member("fifo", tarfile.FIFOTYPE), b""),
        (member("device", tarfile.CHRTYPE), b""),
        (member("first/below"), b"a file is no directory"),
        (member("suid", mode=0o6755), b""),
        (member("n" * 300), b"too long for a file's name"),
        (member("."), b""),
        directory("d"),
        (member("d"), b"a directory is no file"),
    )
    assert (target / "suid").stat().st_mode & 0o7777 == 0o755
    assert {path.name for path in target.iterdir()} == {"first", "last", "suid", "d"}


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    """Relative links within the tree come as they are, dangling ones and those up and down again too."""
    links = {"a": "dir/file", "dir/b": "../a", "dir/c": "./nowhere", "d": "dir/../a", "dir/e": "..//dir/file"}
    target = tmp_path / "target"
    unpack_tar(tar(directory("dir"), (member("dir/file"), b""), *(symlink(*link) for link in links.items())), target)
    assert {name: os.readlink(target / name) for name in links} == links  # noqa: PTH115 - Path would tidy it up


def test_a_name_that_comes_twice(tmp_path: Path) -> None:
    """The later of two files counts, and a hard link made to the earlier one keeps that one's content."""
    data = tar((member("x"), b"old"), (member("link", tarfile.LNKTYPE, link="x"), b""), (member("x"), b"new"))
    unpack_tar(data, tmp_path / "target")
    assert (tmp_path / "target" / "x").read_text() == "new"
    assert (tmp_path / "target" / "link").read_text() == "old"


@pytest.mark.parametrize("limit", ["members", "size_bytes", "path_bytes"])
def test_limits_say_which_was_exceeded(tmp_path: Path, limit: str) -> None:
    """Members, bytes and the length of a path are bounded, and the error names the bound."""
    limits = {"members": TransferLimits(members=1), "size_bytes": TransferLimits(size_bytes=5)}
    with pytest.raises(TransferLimitError, match=limit) as caught:
        unpack_tar(
            tar((member("a"), b"123"), (member("bcd"), b"456")),
            tmp_path / "target",
            limits=limits.get(limit, TransferLimits(path_bytes=2)),
        )
    assert caught.value.limit == limit


def test_a_long_name_or_link_is_bounded_before_it_is_read(tmp_path: Path) -> None:
    """A header that announces a name of gigabytes is refused, whatever kind of header it is."""
    for flag in (b"L", b"K", b"x", b"g"):
        with pytest.raises(TransferLimitError, match="path_bytes"):
            unpack_tar(tar_header(b"x", type_flag=flag, size=9 * GIB), tmp_path / "target")
    with pytest.raises(TransferLimitError, match="path_bytes"):
        unpack_tar(tar(symlink("x", "y" * 5000)), tmp_path / "target")


@pytest.mark.parametrize("damage", [b"x", b"\x80"])
def test_what_is_no_tar_is_said_so(tmp_path: Path, damage: bytes) -> None:
    """Junk, a damaged header and an archive that ends too early are errors, never a tree with something missing."""
    good = tar((member("a"), b"123" * 1000))
    for data in (b"junk" * 1000, good[:124] + damage + good[125:], good[:100], good[:1000]):
        with pytest.raises(ArchiveError):
            unpack_tar(data, tmp_path / "target")


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_formats_of_other_tars(tmp_path: Path, format: int) -> None:
    """Long names come in each of the ways that tars write them."""
    long = "/".join(["d" * 50] * 4)
    unpack_tar(tar(directory(long), (member(f"{long}/ü"), b"x"), format=format), tmp_path / "target")
    assert (tmp_path / "target" / long / "ü").read_text() == "x"


@pytest.mark.parametrize("size", [0, 8**11 - 1, 8**11, 100 * GIB, 2**62])
def test_huge_sizes(size: int) -> None:
    """A member's size is written as tars read it, beyond the 8 GiB of the old field as well."""
    block = tar_header(b"name", type_flag=b"0", size=size, mtime=-1)
    assert number(block[124:136]) == size
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    assert (info.size, info.mtime, info.name) == (size, -1, "name")


@given(st.lists(st.integers(1, 10 * GIB), max_size=60), st.integers(0, 100 * GIB))
def test_headers_of_files_with_holes(steps: list[int], hole_at_end: int) -> None:
    """What is a hole and what is not survives GNU's format for any number of pieces, and Python's tarfile agrees."""
    extents, position = [], 0
    for hole, data in zip(steps[::2], steps[1::2], strict=False):
        extents.append((position + hole, data))
        position += hole + data
    size = position + hole_at_end
    blocks, stored = sparse_header(b"n" * 120, mode=0o644, mtime=5, size=size, extents=extents)
    assert stored == sum(length for _, length in extents)
    read = next(tar_members(ByteSource([blocks]), limits=LIMITS, what="It"))
    assert (read.size, read.stored, read.name) == (size, stored, b"n" * 120)
    assert [extent for extent in read.extents or () if extent[1]] == extents
    reader = tarfile.open(fileobj=io.BytesIO(blocks), mode="r:", ignore_zeros=True)  # noqa: SIM115 - nothing to close
    info = reader.next()
    assert info is not None
    assert info.size == size


NAMES = (
    st.binary(min_size=1, max_size=12)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"0"))
    .filter(lambda name: name not in (b".", b".."))
)
TREES = st.recursive(
    st.tuples(st.binary(max_size=3000), st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o666])),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def packed(entries: Iterable[Entry], *, sparse: bool) -> Iterator[bytes]:
    return without_announcements(tar_pieces(entries, sparse=sparse))


def grow(root: bytes, tree: dict[bytes, object]) -> None:
    os.mkdir(root, 0o755)  # noqa: PTH102 - of bytes
    for name, what in tree.items():
        path = root + b"/" + name
        if isinstance(what, dict):
            grow(path, what)
        elif isinstance(what, tuple):
            with open(path, "wb") as file:  # noqa: PTH123 - of bytes
                file.write(what[0])
            os.chmod(path, what[1])  # noqa: PTH101 - of bytes


@pytest.fixture
def scratch() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    yield made
    shutil.rmtree(made)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(tree=TREES, piece=st.integers(1, 5000))
@example(tree={b"\xff\n": (b"x" * 512, 0o600), b"-": {b" ": {}}}, piece=511)
def test_any_tree_comes_back(scratch: Path, tree: dict[bytes, object], piece: int) -> None:
    """Any names, bytes and modes, packed, cut into any pieces and unpacked, are the same; tarfile reads them too."""
    there, back = Path(tempfile.mkdtemp(dir=scratch)) / "there", Path(tempfile.mkdtemp(dir=scratch)) / "back"
    grow(os.fsencode(there), tree)
    data = b"".join(packed(directory_entries(os.fsencode(there)), sparse=True))
    unpack_tar(data, back, piece=piece)
    assert snapshot(back) == snapshot(there)
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        assert {os.fsencode(name) for name in archive.getnames()} == set(snapshot(there))


@given(st.binary(max_size=2000), st.integers(1, 600))
def test_no_bytes_break_the_reader(sent: bytes, piece: int) -> None:
    """Whatever a pod sends as tar or as list is either read or refused by the error for that, however it is cut."""
    for data in (sent, tar_header(b"x", type_flag=b"x", size=len(sent)) + sent):
        for read in (tar_members, list_members):
            source = ByteSource(data[start : start + piece] for start in range(0, len(data), piece))
            try:
                for found in read(source, limits=LIMITS, what="It"):
                    source.skip(found.stored)
            except (ArchiveError, TransferLimitError):
                pass


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """A file that has become shorter makes an error, not a tar with something else in it; a longer one is cut."""
    (tmp_path / "file").write_bytes(b"x" * 10)
    (entry,) = directory_entries(os.fsencode(tmp_path))
    (tmp_path / "file").write_bytes(b"x" * 20)
    assert len(b"".join(packed([entry], sparse=False))) == 512 + 512 + 1024
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TransferError, match="shorter"):
        list(tar_pieces([entry], sparse=False))


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    """The second name of a file is a link to the first in the archive."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    kinds = [(member.name, member.kind, member.link) for member, _ in directory_entries(os.fsencode(tmp_path))]
    assert kinds == [(b"a", Kind.FILE, b""), (b"b", Kind.HARD_LINK, b"a")]


def test_merge_replaces_links_rather_than_following_them(tmp_path: Path) -> None:
    """A link in the target is replaced by what comes, and what it leads to stays as it is."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "dir").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source" / "dir").mkdir(parents=True)
    (tmp_path / "source" / "dir" / "file").touch()
    merge(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target" / "dir" / "file").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


EXCLUDED_NAMES = (
    "a.log",
    "dir/a.log",
    "dir/sub/b",
    "dirt/x",
    "[x]",
    "x-y",
    "a\\b",
    "deep/dir/sub/c",
    "Q",
    "7",
    "^",
    "]",
)
PATTERNS = (
    "*.log", "dir", "dir/sub", "sub/*", "./dir", "d*r/sub", "?", "[0-9]", "[!A-Z]", "[^A-Z7]", "\\[x\\]", "[[]x]",
    "a\\\\b", "[", "[x", "x[-]y", "[[:upper:]]", "dir/", "", "*", "[]]", "sub", "*/sub", "a.lo", "deep/*/sub",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_they_mean_to_tar(tmp_path: Path, pattern: str) -> None:
    """What is left out here is what GNU tar leaves out."""
    if "GNU" not in subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("this machine's tar is not GNU's")
    for name in EXCLUDED_NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = ["tar", "-cf", "-", f"--exclude={pattern}", "-C", str(tmp_path), "."]
    made = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    source = ByteSource([made])
    theirs = {text(found.name) for found in tar_members(source, limits=LIMITS, what="It") if found.kind is Kind.FILE}
    wanted = not_excluded([pattern])
    ours = {b"./" + name.encode() for name in EXCLUDED_NAMES if wanted(name.encode())}
    assert ours == theirs


def test_names_bring_what_is_below_them() -> None:
    """A name stands for itself and all below it, and for nothing that merely begins like it."""
    wanted = named([b"a/b", b"c"])
    assert [name for name in (b"a", b"a/b", b"a/b/x", b"a/bc", b"c", b"cd", b"x/c") if wanted(name)] == [
        b"a/b", b"a/b/x", b"c",
    ]  # fmt: skip
    assert named([b""])(b"anything")
