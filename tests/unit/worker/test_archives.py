"""Packing and unpacking, without a pod."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import TransferError
from harbor_aws.worker.transfer.pack import plan_directory
from harbor_aws.worker.transfer.report import TransferReport
from harbor_aws.worker.transfer.unpack import DigestingReader, TransferLimitError, TransferLimits, merge, unpack

if TYPE_CHECKING:
    from pathlib import Path


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def member(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize("sizes", [[], [0], [1], [511, 512, 513], [70_000], [3] * 100])
def test_the_size_is_known_before(tmp_path: Path, sizes: list[int]) -> None:
    """A tar is exactly as long as planned, whatever is in it, and every tar reads it."""
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}-{'n' * (number * 2)}").write_bytes(b"x" * size)
    archive = plan_directory(tmp_path)
    data = b"".join(archive.chunks())
    assert len(data) == archive.size
    assert len(data) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as reader:
        assert sorted(info.size for info in reader) == sorted(sizes)


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """A file that has become shorter makes an error, not a tar with something else in it; a longer one is cut."""
    (tmp_path / "grows").write_bytes(b"x")
    archive = plan_directory(tmp_path)
    (tmp_path / "grows").write_bytes(b"xyz")
    assert len(b"".join(archive.chunks())) == archive.size
    (tmp_path / "grows").write_bytes(b"")
    with pytest.raises(TransferError, match="shorter"):
        list(archive.chunks())


def test_hostile_members_are_left_out(tmp_path: Path) -> None:
    """Nothing is written outside the directory, and what is harmless still comes."""
    target = tmp_path / "target"
    target.mkdir()
    outside = tmp_path / "outside"
    unpack(
        DigestingReader(
            tar(
                (member("good"), b"good"),
                (member("../outside"), b"evil"),
                (member(str(outside)), b"evil"),
                (member("up", tarfile.SYMTYPE, link=".."), b""),
                (member("up/outside"), b"evil"),
                (member("here", tarfile.SYMTYPE, link="."), b""),
                (member("here/through"), b"not through the link"),
                (member("hard", tarfile.LNKTYPE, link="../../etc/passwd"), b""),
                (member("fifo", tarfile.FIFOTYPE), b""),
                (member("device", tarfile.CHRTYPE), b""),
                (member("good/below"), b"a file is no directory"),
                (member("suid", mode=0o4755), b""),
                (member("n" * 300), b"too long for a file's name"),
            )
        ),
        target,
        TransferLimits(),
    )
    assert not outside.exists()
    assert (target / "good").read_text() == "good"
    assert (target / "suid").stat().st_mode & 0o7777 == 0o755
    found = {path.name for path in target.iterdir()}
    assert {"hard", "fifo", "device", "n" * 300}.isdisjoint(found)
    assert not (target / "up").is_symlink()


@pytest.mark.parametrize(
    "limits", [TransferLimits(members=1), TransferLimits(size_bytes=5), TransferLimits(path_bytes=2)]
)
def test_limits(tmp_path: Path, limits: TransferLimits) -> None:
    """Members, bytes and the length of a path are bounded."""
    with pytest.raises(TransferLimitError):
        unpack(DigestingReader(tar((member("a"), b"123"), (member("bcd"), b"456"))), tmp_path, limits)


def test_the_whole_stream_is_digested(tmp_path: Path) -> None:
    """Size and digest are those of all bytes, the padding behind the last member included."""
    buffer = tar((member("a"), b"123"))
    reader = DigestingReader(buffer)
    unpack(reader, tmp_path, TransferLimits())
    assert reader.size == len(buffer.getvalue())


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


def test_reports() -> None:
    """A report says size, digest and mode; what says nothing is an error, never zero bytes."""
    report = TransferReport.parse(b"harbor-aws:transfer:5 abc 755")
    assert report == TransferReport(size=5, sha256="abc", mode=0o755)
    assert TransferReport.parse(b"harbor-aws:transfer:0 - -\n") == TransferReport(size=0, sha256=None, mode=None)
    for line in (b"", b"harbor-aws:transfer:  -", b"harbor-aws:transfer:x - -", b"sh: not found"):
        with pytest.raises(TransferError, match="says nothing"):
            TransferReport.parse(line)
    report.check(size=5, sha256="abc", what="it")
    with pytest.raises(TransferError, match="whole"):
        report.check(size=4, sha256="abc", what="it")
    with pytest.raises(TransferError, match="changed"):
        report.check(size=5, sha256="abd", what="it")
