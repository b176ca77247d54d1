"""Files and directories to transfer, and what there is of them afterwards."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

MIB = 1024 * 1024
LARGEST_BYTES = 4 * MIB
MODES = (0o644, 0o600, 0o755, 0o640, 0o444)

Snapshot = dict[str, tuple[str, int | None, str]]
"""Of every path: its kind, its mode unless it is a link, and the digest of its content or where it points to."""


def make_source(place: Path, draw: random.Random) -> None:
    """A file at ``place``, or a directory: of no bytes up to some MiB."""
    if draw.random() < 0.5:
        _make_file(place, draw, size=draw.choice((0, 1, _size(draw), _size(draw), _size(draw))))
    else:
        _make_tree(place, draw)


def _make_tree(place: Path, draw: random.Random) -> None:
    place.mkdir()
    directories = [place]
    for number in range(draw.randrange(4)):
        directories.append(draw.choice(directories) / f"d{number} ü")
        directories[-1].mkdir()
        directories[-1].chmod(draw.choice((0o755, 0o700, 0o775)))
    for number in range(draw.choice((0, 1, 5, 40))):
        path = draw.choice(directories) / f"f{number} '\\ \n é"
        if draw.random() < 0.15:
            path.symlink_to(f"f{number + 1} nowhere")
        else:
            _make_file(path, draw, size=min(_size(draw), 300_000))


def _make_file(path: Path, draw: random.Random, *, size: int) -> None:
    path.write_bytes(draw.randbytes(size))
    path.chmod(draw.choice(MODES))


def _size(draw: random.Random) -> int:
    return int(LARGEST_BYTES ** draw.random())


def snapshot(root: Path) -> Snapshot:
    """All that is at a path here, itself included if it is no directory."""
    found: Snapshot = {}
    for path in [root] if not root.is_dir() else sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", None, str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", path.stat().st_mode & 0o777, "")
        else:
            found[name] = ("file", path.stat().st_mode & 0o777, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def snapshot_of_tar(data: bytes, root: str) -> Snapshot:
    """The same of what is below, or at, ``root`` in a tar."""
    found: Snapshot = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name == root and member.isdir():
                continue
            if name != root and not name.startswith(f"{root}/"):
                continue
            inner = "." if name == root else name.removeprefix(f"{root}/")
            if member.issym():
                found[inner] = ("link", None, member.linkname)
            elif member.isdir():
                found[inner] = ("directory", member.mode & 0o777, "")
            else:
                content = tar.extractfile(member)
                assert content, member
                found[inner] = ("file", member.mode & 0o777, hashlib.sha256(content.read()).hexdigest())
    return found
