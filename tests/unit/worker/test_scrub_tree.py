"""A directory that an agent filled, without its secrets."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from harbor_aws.worker.scrub.needles import Needles
from harbor_aws.worker.scrub.tree import CHUNK_BYTES, scrub_tree

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-live-0123456789abcdefghij"
NEEDLES = Needles({KEY: "KEY"})
OLD_NS = 1_600_000_000_123_456_789


def test_files_lose_their_secrets_and_keep_the_rest(tmp_path: Path) -> None:
    """In any depth, mode and time kept; the names that were found are told."""
    file = tmp_path / "agent" / "logs" / "run.sh"
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\nexport K={KEY}\n")
    file.chmod(0o750)
    os.utime(file, ns=(OLD_NS, OLD_NS))
    assert scrub_tree(tmp_path, NEEDLES) == {"KEY"}
    assert file.read_text() == "#!/bin/sh\nexport K=[KEY]\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o750
    assert file.stat().st_mtime_ns == OLD_NS
    assert [path.name for path in file.parent.iterdir()] == ["run.sh"]


def test_a_file_without_secrets_is_not_written(tmp_path: Path) -> None:
    """It is the same inode afterwards, also where it cannot be written."""
    file = tmp_path / "file"
    file.write_text(KEY[:-1])
    file.chmod(0o400)
    before = file.stat()
    assert scrub_tree(tmp_path, NEEDLES) == set()
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_a_binary_file_keeps_its_length(tmp_path: Path) -> None:
    """What lies behind the secret is still where it was."""
    file = tmp_path / "db.sqlite"
    file.write_bytes(b"\0\1" + KEY.encode() + b"\xfe\xff end")
    scrub_tree(tmp_path, NEEDLES)
    assert file.read_bytes() == b"\0\1" + b"[KEY]".ljust(len(KEY), b"*") + b"\xfe\xff end"


@pytest.mark.parametrize("at", [CHUNK_BYTES - 1, CHUNK_BYTES - 14, CHUNK_BYTES, 2 * CHUNK_BYTES - 3])
def test_a_secret_across_what_is_read_at_once(tmp_path: Path, at: int) -> None:
    """It is found wherever it lies."""
    file = tmp_path / "large"
    file.write_bytes(b"a" * at + KEY.encode() + b"b" * CHUNK_BYTES)
    scrub_tree(tmp_path, NEEDLES)
    assert file.read_bytes() == b"a" * at + b"[KEY]" + b"b" * CHUNK_BYTES


def test_names_lose_their_secrets(tmp_path: Path) -> None:
    """Of directories too, from the inside outwards; two that become one name are told apart; bytes may be no text."""
    directory = tmp_path / f"d-{KEY}"
    directory.mkdir()
    (directory / f"{KEY}.log").write_text("1")
    (directory / "[KEY].log").write_text("2")
    odd = os.fsencode(directory) + b"/\xff-" + KEY.encode()
    with open(odd, "wb") as file:  # noqa: PTH123 - its name is no text
        file.write(KEY.encode())
    assert scrub_tree(tmp_path, NEEDLES) == {"KEY"}
    (only,) = tmp_path.iterdir()
    assert only.name == "d-[KEY]"
    assert sorted(os.listdir(os.fsencode(only))) == [b"[KEY].log", b"[KEY].log-2", b"\xff-[KEY]"]  # noqa: PTH208 - bytes
    assert {path.read_text() for path in only.iterdir()} == {"1", "2", "[KEY]"}


def test_links_are_not_followed_and_do_not_tell(tmp_path: Path) -> None:
    """What a link leads to outside stays as it is; a link whose target is a secret leads elsewhere."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "file").write_text(KEY)
    (root / "file").symlink_to(outside / "file")
    (root / "directory").symlink_to(outside)
    (root / "told").symlink_to(f"/nowhere/{KEY}")
    assert scrub_tree(root, NEEDLES) == {"KEY"}
    assert (outside / "file").read_text() == KEY
    assert os.readlink(root / "told") == "/nowhere/[KEY]"  # noqa: PTH115 - as it is
    assert (root / "directory").is_symlink()


def test_pipes_are_left_alone(tmp_path: Path) -> None:
    """Nobody waits for a writer that never comes."""
    os.mkfifo(tmp_path / "pipe")
    assert scrub_tree(tmp_path, NEEDLES) == set()


def test_a_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, rather than what is in it taken to be without secrets."""
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refused(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError):
        scrub_tree(tmp_path, NEEDLES)


def test_a_disk_that_is_full_leaves_no_scrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is raised, so that nothing is uploaded, and what was half written is gone."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text(KEY)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        scrub_tree(tmp_path, NEEDLES)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
