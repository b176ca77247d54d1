"""What COPY and ADD do, in two halves with a pipe between them, each with its own idea of ``/``.

:func:`pack` reads where the files come from, :func:`unpack` writes where they go. Both run in children of the launcher,
so that no symbolic link of an image or a context leads out of it. In between is a tar stream whose members' names begin
with ``d/`` (below a copied directory), ``f/`` (a copied file) or ``a/`` (an archive that ADD unpacks).
"""

from __future__ import annotations

import bz2  # noqa: F401 - tarfile imports these late, when the root directory is another
import contextlib
import glob
import gzip  # noqa: F401
import lzma  # noqa: F401
import os
import shutil
import stat
import tarfile
import tempfile
import zlib  # noqa: F401
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.pods.program import resolve_group, resolve_user

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNSUPPORTED = (stat.S_ISSOCK, stat.S_ISBLK, stat.S_ISCHR)
_KINDS = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}


def pack(stream: int, *, sources: list[str], archives: bool) -> None:
    """Write what the patterns ``sources`` match to ``stream``.

    Raises:
        ValueError: a pattern matches nothing.
    """
    with (
        os.fdopen(os.dup(stream), "wb") as file,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for source in sources:
            for match in _matches(source):
                _pack_source(tar, match, archives=archives)


def _matches(pattern: str) -> list[Path]:
    path = "/" + pattern.lstrip("/")
    found = sorted(glob.glob(path.replace("[^", "[!"), include_hidden=True))  # noqa: PTH207 - it must find dot files
    if not found and os.path.lexists(path):
        found = [path]
    if not found:
        raise ValueError(f'"{pattern}": not found')
    return [Path(name) for name in found]


def _pack_source(tar: tarfile.TarFile, source: Path, *, archives: bool) -> None:
    real = source.resolve(strict=True)  # a symbolic link that is named itself is followed
    if not real.is_dir():
        kind = "a" if archives and real.is_file() and tarfile.is_tarfile(real) else "f"
        return _pack_one(tar, real, f"{kind}/{source.name}")
    _pack_one(tar, real, "d/.")
    for path in _walk(real):
        _pack_one(tar, path, f"d/{path.relative_to(real)}")
    return None


def _walk(directory: Path) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory):
        for name in sorted([*directories, *files]):
            yield Path(parent, name)


def _pack_one(tar: tarfile.TarFile, path: Path, name: str) -> None:
    status = path.lstat()
    if any(unsupported(status.st_mode) for unsupported in _UNSUPPORTED):
        return
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = stat.S_IMODE(status.st_mode), status.st_mtime
    member.uid, member.gid = status.st_uid, status.st_gid
    member.type = _KINDS.get(stat.S_IFMT(status.st_mode), tarfile.REGTYPE)
    if member.issym():
        member.linkname = str(path.readlink())
    if not member.isreg():
        tar.addfile(member)
        return
    member.size = status.st_size
    with path.open("rb") as content:
        tar.addfile(member, content)


class _Target:
    """Where members go and what becomes of their owners and modes."""

    def __init__(self, *, owner: str | None, keep_owner: bool, mode: int | None) -> None:
        self._owner: tuple[int, int] | None = None if keep_owner else (0, 0)
        self._mode = mode
        if owner:
            user, _, group = owner.partition(":")
            identity = resolve_user(user)
            self._owner = (identity.uid, resolve_group(group) if group else _group_of(user, identity.gid))

    def make_parents(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_parents(path.parent)
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        if self._owner:
            os.chown(path, *self._owner)

    def write(self, member: tarfile.TarInfo, path: Path, tar: tarfile.TarFile) -> None:
        self.make_parents(path.parent)
        if member.isdir():
            self.make_parents(path)
        else:
            if path.is_dir() and not path.is_symlink():
                raise ValueError(f"cannot replace the directory {path} by a file")
            path.unlink(missing_ok=True)
            _create(member, path, tar)
        self._set_attributes(member, path)

    def _set_attributes(self, member: tarfile.TarInfo, path: Path) -> None:
        os.chown(path, *(self._owner or (member.uid, member.gid)), follow_symlinks=False)
        if not member.issym():
            path.chmod(member.mode if self._mode is None else self._mode)
            os.utime(path, (member.mtime, member.mtime))


def _group_of(user: str, gid: int) -> int:
    """Docker takes a lone ``--chown=1000`` for both user and group."""
    return int(user) if user.isdigit() else gid


def _create(member: tarfile.TarInfo, path: Path, tar: tarfile.TarFile) -> None:
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.isfifo():
        os.mkfifo(path)
    else:
        content = tar.extractfile(member)
        with path.open("xb") as file:
            if content is not None:
                shutil.copyfileobj(content, file, 1 << 18)


def unpack(
    stream: int, *, destination: str, as_directory: bool, owner: str | None, keep_owner: bool, mode: int | None
) -> None:
    """Put what :func:`pack` wrote at ``destination``, which ``as_directory`` says to be a directory.

    Args:
        owner: ``user[:group]`` of everything, ``None`` being root unless ``keep_owner``.
        keep_owner: let everything belong to whom it belonged.
        mode: of everything, ``None`` being what it was.

    Raises:
        ValueError: several files for one name, or a file in a directory's place.
    """
    target = _Target(owner=owner, keep_owner=keep_owner, mode=mode)
    goal = Path(destination)
    written = 0
    with os.fdopen(os.dup(stream), "rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            kind, _, name = member.name.partition("/")
            if kind == "a":
                _unpack_archive(member, tar, goal)
                continue
            inside = kind == "d" or as_directory or goal.is_dir()
            if not inside and written:
                raise ValueError(f"several sources need a destination that ends with a /: {destination}")
            written += 1
            if name == "." and kind == "d":  # the attributes of a directory are not its content's
                target.make_parents(goal)
                continue
            target.write(member, goal / name if inside else goal, tar)


def _unpack_archive(member: tarfile.TarInfo, outer: tarfile.TarFile, goal: Path) -> None:
    _Target(owner=None, keep_owner=False, mode=None).make_parents(goal)
    content = outer.extractfile(member)
    if content is None:
        return
    with tempfile.TemporaryFile(dir=goal) as spool:
        shutil.copyfileobj(content, spool, 1 << 18)
        spool.seek(0)
        with tarfile.open(fileobj=spool, mode="r:*") as tar:
            _extract_all(tar, goal)


def _extract_all(tar: tarfile.TarFile, goal: Path) -> None:
    target = _Target(owner=None, keep_owner=True, mode=None)
    for member in tar:
        parts = PurePosixPath(member.name).parts
        if ".." in parts:
            raise ValueError(f"the archive holds a path that leaves it: {member.name}")
        path = goal.joinpath(*(part for part in parts if part != "/"))
        if member.islnk():
            path.unlink(missing_ok=True)
            path.hardlink_to(goal / member.linkname.lstrip("/"))
        elif member.isreg() or member.isdir() or member.issym():
            with contextlib.suppress(FileExistsError):
                target.write(member, path, tar)


def make_working_directory(stream: int, *, path: str, owner: str) -> None:  # noqa: ARG001 - nothing is streamed
    """Make what is missing of a directory; it belongs to ``owner``, a ``user[:group]``, or to root."""
    _Target(owner=owner or None, keep_owner=False, mode=None).make_parents(Path(path))


def pack_everything(stream: int) -> None:
    """Write every file below ``/`` to ``stream``, with owners, modes, links and devices."""
    links: dict[tuple[int, int], str] = {}
    with (
        os.fdopen(os.dup(stream), "wb") as file,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _walk(Path("/")):
            status = path.lstat()
            name = str(path).lstrip("/")
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                first = links.setdefault((status.st_dev, status.st_ino), name)
                if first != name:
                    member = tarfile.TarInfo(name)
                    member.type, member.linkname = tarfile.LNKTYPE, first
                    tar.addfile(member)
                    continue
            _pack_one(tar, path, name)
