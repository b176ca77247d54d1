"""A worker's own directory, and what becomes of those of workers that were killed; with real processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.errors import UsageError
from harbor_aws.worker.scratch import PREFIX, own_scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """\
import sys, tempfile
from harbor_aws.worker.scratch import own_scratch
with own_scratch() as directory:
    print(directory, flush=True)
    sys.stdin.readline()
"""
"""Says what its directory is and keeps it until it is told to end."""

RACE = """\
import sys
from harbor_aws.worker.scratch import own_scratch
print("ready", flush=True)
sys.stdin.readline()
for _ in range(500):
    with own_scratch() as directory:
        (directory / "file").write_text("x")
        assert (directory / "file").read_text() == "x"
"""
"""Makes directories as fast as it can, and fails if one of them is taken away."""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files, of this process and of those that it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a directory, and that directory."""
    with start(HOLD) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_all_temporary_files_lie_below(parent: Path) -> None:
    """Whichever library or program makes them; afterwards nothing is left and all is as it was."""
    show = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
    with own_scratch() as directory:
        assert directory.parent == parent
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).parent == directory
        assert subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip() == str(directory)
        (directory / "left").write_text("over")
    assert (list(parent.iterdir()), tempfile.gettempdir(), os.environ["TMPDIR"]) == ([], str(parent), str(parent))


def test_what_a_killed_worker_left_is_removed(parent: Path, holder: tuple[subprocess.Popen[str], Path]) -> None:
    """By the next one that starts; as long as the process lived its directory was its own."""
    process, directory = holder
    (directory / "trial").mkdir()
    (directory / "trial" / "file").write_text("x")
    with own_scratch():
        assert (directory / "trial" / "file").exists()
    process.kill()
    process.wait()
    assert directory.exists()
    with own_scratch() as own:
        assert list(parent.iterdir()) == [own]


def test_processes_that_start_together_keep_their_directories(parent: Path) -> None:
    """Each removes what is abandoned while the others make theirs: none loses its own, and none stays."""
    processes = [start(RACE) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            tell(process)
        assert [process.wait() for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert list(parent.iterdir()) == []


def test_a_directory_that_is_taken_before_it_is_locked_is_made_anew(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making and locking another process may have it for abandoned, and remove it."""
    lock = fcntl.flock
    removed: list[Path] = []

    def remove_and_lock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.extend(parent.glob(f"{PREFIX}*"))
            removed[0].rmdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with own_scratch() as directory:
        assert directory.is_dir()
        assert removed != [directory]


def test_nobody_elses_directory_is_touched(parent: Path, tmp_path: Path) -> None:
    """Neither what a link points to nor what has another name is a killed worker's."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (parent / f"{PREFIX}link").symlink_to(precious)
    (parent / f"{PREFIX}file").write_text("x")
    before = sorted(parent.iterdir())
    with own_scratch():
        pass
    assert sorted(parent.iterdir()) == before


def test_a_place_that_is_not_there_is_the_users(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in a line, which names what to set."""
    monkeypatch.setenv("TMPDIR", str(parent / "missing"))
    with pytest.raises(UsageError, match="TMPDIR"), own_scratch():
        pass


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(process: subprocess.Popen[str]) -> None:
    """Let a process go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_place_that_is_full_is_cleaned_and_kept_to(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tempfile would go elsewhere then, and leave what fills the place."""
    (parent / f"{PREFIX}abandoned").mkdir()
    elsewhere = parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    with own_scratch() as directory:
        assert directory.parent == parent
        assert sorted(path.name for path in parent.iterdir()) == sorted(["elsewhere", directory.name])
    assert list(elsewhere.iterdir()) == []
