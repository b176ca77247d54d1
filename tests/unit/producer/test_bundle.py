"""Archives: the same bytes for the same files, and nothing unpacked that should not be."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.tiny_tasks import make_task

from harbor_aws.infra.errors import UsageError
from harbor_aws.producer import bundle
from harbor_aws.producer.bundle import BundleError, pack_directory, pack_task, unpack_attempt, unpack_bundle
from harbor_aws.worker.transfer.limits import TransferLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def contents(root: Path) -> dict[str, tuple[str, bool]]:
    """By path: what is in a file or where a link leads, and whether it is executable."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = (str(path.readlink()), True)
        elif path.is_file():
            found[str(path.relative_to(root))] = (path.read_text(), bool(path.stat().st_mode & 0o100))
    return found


def archive_of(path: Path, *members: tarfile.TarInfo) -> Path:
    """An archive of empty members, made by somebody else."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"\0" * member.size))
    path.write_bytes(zstandard.compress(raw.getvalue()))
    return path


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def test_a_task_comes_back_as_it_was(tmp_path: Path) -> None:
    """Contents, executable bits, empty directories and inner links survive."""
    task = make_task(tmp_path, files={"tests/data/ünïcode name": "ü"})
    (task / "tests/test.sh").chmod(0o755)
    (task / "tests/link.sh").symlink_to("test.sh")
    (task / "environment/empty").mkdir()
    digest = pack_task(task, tmp_path / "a")
    unpack_bundle(tmp_path / "a", tmp_path / "back", digest)
    assert contents(tmp_path / "back") == contents(task)
    assert (tmp_path / "back/environment/empty").is_dir()


def test_the_same_files_have_the_same_digest(tmp_path: Path) -> None:
    """Neither place, times, owners, order of creation nor left-out files change the digest; a file's content does."""
    one = make_task(tmp_path / "one")
    other = make_task(tmp_path / "other")
    os.utime(other / "task.toml", (1, 1))
    (other / "tests/__pycache__").mkdir()
    (other / "tests/__pycache__/x.pyc").write_bytes(b"x")
    (other / ".git").mkdir()
    (other / ".git/HEAD").write_text("ref")
    digest = pack_task(one, tmp_path / "a")
    assert pack_task(other, tmp_path / "b") == digest
    (other / "instruction.md").write_text("Else.")
    assert pack_task(other, tmp_path / "c") != digest


def test_a_repository_inside_the_environment_travels(tmp_path: Path) -> None:
    """Only the task's own .git is left out: a task may be about a repository."""
    task = make_task(tmp_path, files={"environment/repo/.git/HEAD": "ref"})
    unpack_bundle(tmp_path / "a", tmp_path / "back", pack_task(task, tmp_path / "a"))
    assert (tmp_path / "back/environment/repo/.git/HEAD").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "tests/odd links to /etc/passwd, outside"),
        (lambda path: path.symlink_to("../../../x"), "tests/odd links to ../../../x, outside"),
        (lambda path: os.mkfifo(path), "tests/odd is neither"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    """A link that leaves the task and a pipe are refused in a task, and left out of an attempt's archive."""
    task = make_task(tmp_path)
    spoil(task / "tests/odd")
    with pytest.raises(UsageError, match=message):
        pack_task(task, tmp_path / "a")
    pack_directory(task, tmp_path / "b")
    unpack_attempt(tmp_path / "b", tmp_path / "back")
    assert not (tmp_path / "back/tests/odd").is_symlink()
    assert (tmp_path / "back/tests/test.sh").exists()


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    """One changed byte, and nothing is unpacked."""
    digest = pack_task(make_task(tmp_path), tmp_path / "a")
    damaged = bytearray((tmp_path / "a").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "a").write_bytes(damaged)
    with pytest.raises(BundleError, match="damaged"):
        unpack_bundle(tmp_path / "a", tmp_path / "back", digest)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "member",
    [tarfile.TarInfo("../escaped"), link("out", "/etc"), link("out", "../../etc")],
    ids=["path", "absolute link", "relative link"],
)
def test_hostile_members(tmp_path: Path, member: tarfile.TarInfo) -> None:
    """A bundle with a member that leaves its directory is refused whole; an attempt's loses that member alone."""
    archive = archive_of(tmp_path / "a", tarfile.TarInfo("fine"), member)
    with pytest.raises(BundleError, match="cannot be unpacked"):
        unpack_bundle(archive, tmp_path / "task", bundle._digest(archive))
    unpack_attempt(archive, tmp_path / "trial")
    assert sorted(path.name for path in (tmp_path / "trial").iterdir()) == ["fine"]
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "task").exists()


def test_archives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members or bytes than the limits are refused in both directions."""
    monkeypatch.setattr(bundle, "MAX_MEMBERS", 3)
    with pytest.raises(UsageError, match="more than the 3"):
        pack_task(make_task(tmp_path), tmp_path / "a")
    many = archive_of(tmp_path / "b", *(tarfile.TarInfo(str(index)) for index in range(4)))
    with pytest.raises(BundleError, match="more than 3 files"):
        unpack_attempt(many, tmp_path / "back")
    monkeypatch.setattr(bundle, "MAX_BYTES", 100)
    large = tarfile.TarInfo("large")
    large.size = 101
    with pytest.raises(BundleError, match="100 bytes"):
        unpack_attempt(archive_of(tmp_path / "c", large), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_is_too_much_of_an_attempt_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits is kept, what lies highest first, the rest is named in a note, and the archive unpacks."""
    monkeypatch.setattr(bundle, "_NOTE_BYTES", 1000)
    monkeypatch.setattr(bundle, "MAX_BYTES", 1100)
    monkeypatch.setattr(bundle, "MAX_MEMBERS", 6)
    trial = tmp_path / "trial"
    (trial / "agent/deep").mkdir(parents=True)
    (trial / "agent/core").write_bytes(b"x" * 101)
    (trial / "agent/deep/a").touch()
    (trial / "agent/log").write_text("x" * 98)
    (trial / "result.json").write_text("{}")
    (trial / "harbor-aws-left-out.txt").symlink_to("result.json")
    pack_directory(trial, tmp_path / "a")
    unpack_attempt(tmp_path / "a", tmp_path / "back")
    assert contents(tmp_path / "back").keys() == {"agent/log", "harbor-aws-left-out.txt", "result.json"}
    note = (tmp_path / "back/harbor-aws-left-out.txt").read_text()
    assert note.splitlines() == [
        "2 files and directories were left out: an archive holds 6 in 1100 bytes.",
        "agent/core",
        "agent/deep/a",
    ]
    assert (tmp_path / "back/result.json").read_text() == "{}"


def test_a_long_note_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names there are, and whatever they are made of."""
    monkeypatch.setattr(bundle, "_NOTE_BYTES", 200)
    monkeypatch.setattr(bundle, "MAX_BYTES", 200)
    for index in range(20):
        (tmp_path / os.fsdecode(b"\xff%d" % index)).write_text("x")
    archive = tmp_path.parent / "archive"
    pack_directory(tmp_path, archive)
    unpack_attempt(archive, tmp_path / "back")
    [note] = (tmp_path / "back").iterdir()
    assert note.stat().st_size == 200
    assert note.read_text().startswith("20 files")


def test_what_a_download_may_bring_can_be_archived() -> None:
    """The worker's limits of one download are within those of an archive."""
    limits = TransferLimits()
    assert limits.members <= bundle.MAX_MEMBERS
    assert limits.size_bytes <= bundle.MAX_BYTES


def test_unpacking_twice_is_no_work(tmp_path: Path) -> None:
    """A target that is there is left as it is, and nothing is left beside it."""
    digest = pack_task(make_task(tmp_path), tmp_path / "a")
    (tmp_path / "out").mkdir()
    for _ in range(2):
        unpack_bundle(tmp_path / "a", tmp_path / "out/back", digest)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["back"]
