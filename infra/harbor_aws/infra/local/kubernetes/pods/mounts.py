"""Puts a container's root file system together, inside a mount namespace of its own. Runs in a child of the launcher.

Everything written goes to a tmpfs that only this mount namespace has (or, while an image is built, to a directory), so
that nothing is left of it when the last process of the container is gone, however it went.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TypedDict

from harbor_aws.infra.local.kubernetes.pods.syscalls import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    bind,
    mount,
    pivot_root,
)

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
SHM_BYTES = 64 * 1024 * 1024
"""Size of ``/dev/shm``, Kubernetes' default."""


class HiddenSpec(TypedDict):
    """A directory of the base whose content the container must not see, but may have one of its own in its place."""

    path: str
    """Relative to the base."""
    mode: int


class OverlaySpec(TypedDict):
    """One file system of the container: what is merged where."""

    path: str
    """Mount point in the container; ``/`` comes first."""
    base: str
    """The directory below everything."""
    hidden: list[HiddenSpec]
    layers: list[str]
    """Directories above the base, the topmost first."""
    upper: str | None
    """Directory that keeps what is written; ``None`` is memory."""
    work: str | None
    """Empty directory on the same file system as ``upper``."""


class BindSpec(TypedDict):
    """A file or directory that the container shares with whoever else has it."""

    source: str
    target: str
    read_only: bool


class RootSpec(TypedDict):
    """A container's whole root file system."""

    stage: str
    """An empty directory to work on."""
    overlays: list[OverlaySpec]
    files: dict[str, str]
    """Contents of files that the container gets besides the image's, such as ``/etc/hosts``."""
    binds: list[BindSpec]
    memory: list[str]
    """Directories that are empty and not kept."""
    size_bytes: int | None
    """The most that may be written, ``None`` being half of the memory."""
    cgroup: str | None
    """Directory of the container's own control group, which it sees, and no other."""
    bare: bool
    """Only the image's own files: no ``/proc``, ``/sys``, ``/dev``, no files, no binds."""


def enter_root(spec: RootSpec) -> None:
    """Compose the root file system and make it this process's root."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    stage = Path(spec["stage"])
    size = f",size={spec['size_bytes']}" if spec["size_bytes"] else ""
    mount("tmpfs", str(stage), "tmpfs", 0, f"mode=755{size}")
    root = stage / "root"
    root.mkdir()
    for number, overlay in enumerate(spec["overlays"]):
        _mount_overlay(overlay, stage / f"overlay-{number}", root)
    if not spec["bare"]:
        _add_to_image(spec, stage, root)
    pivot_root(str(root))


def _add_to_image(spec: RootSpec, stage: Path, root: Path) -> None:
    _mount_proc(root)
    _mount_sys(root)
    if spec["cgroup"] is not None:
        _mount_cgroup(root / "sys/fs/cgroup", Path(spec["cgroup"]))
    _mount_dev(root)
    for number, (path, content) in enumerate(spec["files"].items()):
        source = stage / f"file-{number}"
        source.write_text(content)
        source.chmod(0o644)
        _bind_into(root, BindSpec(source=str(source), target=path, read_only=False))
    for path in spec["memory"]:
        target = _inside(root, path)
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        mount("tmpfs", str(target), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for entry in spec["binds"]:
        _bind_into(root, entry)


def _mount_overlay(spec: OverlaySpec, memory: Path, root: Path) -> None:
    for name in ("upper", "work", "mask", "view"):
        (memory / name).mkdir(parents=True)
    lowers = [str(memory / "mask"), spec["base"]]
    _copy_attributes(Path(spec["base"]), memory / "mask")
    for hidden in spec["hidden"]:
        _hide(memory / "mask", Path(spec["base"]), hidden)
    if spec["layers"]:
        if _overlap(spec["layers"], spec["base"]):
            _mount_merged(lowers, None, None, memory / "view")
            lowers = [str(memory / "view")]
        lowers = [*spec["layers"], *lowers]
    upper, work = spec["upper"] or str(memory / "upper"), spec["work"] or str(memory / "work")
    _copy_attributes(Path(spec["base"]), Path(upper))
    _mount_merged(lowers, upper, work, _inside(root, spec["path"]))


def _overlap(layers: list[str], base: str) -> bool:
    """Whether overlayfs would refuse the layers for lying below the base; a view of the base in between helps."""
    return any(
        Path(layer).is_relative_to(base) and Path(layer).stat().st_dev == Path(base).stat().st_dev for layer in layers
    )


def _hide(mask: Path, base: Path, hidden: HiddenSpec) -> None:
    """Make the mask, a layer above the base, hold an opaque directory at the hidden path."""
    for parent in reversed(PurePosixPath(hidden["path"]).parents[:-1]):
        if not (mask / parent).exists():
            (mask / parent).mkdir()
            _copy_attributes(base / parent, mask / parent)
    directory = mask / hidden["path"]
    directory.mkdir(exist_ok=True)
    directory.chmod(hidden["mode"])
    os.setxattr(directory, "trusted.overlay.opaque", b"y")


def _mount_merged(lowers: list[str], upper: str | None, work: str | None, target: Path) -> None:
    options = [
        "lowerdir=" + ":".join(_escaped(lower) for lower in lowers),
        "redirect_dir=off",
        "index=off",
        "metacopy=off",
    ]
    if upper is not None and work is not None:
        options += [f"upperdir={_escaped(upper)}", f"workdir={_escaped(work)}", "volatile"]
    mount("overlay", str(target), "overlay", 0, ",".join(options))


def _copy_attributes(source: Path, target: Path) -> None:
    """What is merged has the attributes of the topmost directory."""
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _mount_proc(root: Path) -> None:
    target = root / "proc"
    target.mkdir(exist_ok=True)
    mount("proc", str(target), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in ("sys", "sysrq-trigger", "irq", "bus"):
        path = target / name
        if path.exists():
            bind(str(path), str(path), read_only=True)


def _mount_sys(root: Path) -> None:
    target = root / "sys"
    target.mkdir(exist_ok=True)
    bind("/sys", str(target), read_only=True)


def _mount_cgroup(target: Path, group: Path) -> None:
    """In version 2 the group is the place of all groups, in version 1 the place of those of its controller."""
    if (group / "cgroup.controllers").exists():
        bind(str(group), str(target), read_only=True)
        return
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("tmpfs", str(target), "tmpfs", flags, "mode=755,size=65536")
    (target / "memory").mkdir()
    bind(str(group), str(target / "memory"), read_only=True)
    mount("tmpfs", str(target), "tmpfs", flags | MS_REMOUNT | MS_RDONLY)


def _mount_dev(root: Path) -> None:
    dev = root / "dev"
    dev.mkdir(exist_ok=True)
    mount("tmpfs", str(dev), "tmpfs", MS_NOSUID, "mode=755,size=65536")
    for name in DEVICES:
        (dev / name).touch()
        bind(f"/dev/{name}", str(dev / name))
    for name, destination in LINKS.items():
        (dev / name).symlink_to(destination)
    (dev / "pts").mkdir()
    mount("devpts", str(dev / "pts"), "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    (dev / "shm").mkdir()
    mount("shm", str(dev / "shm"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, f"mode=1777,size={SHM_BYTES}")


def _bind_into(root: Path, spec: BindSpec) -> None:
    target = _inside(root, spec["target"])
    source = Path(spec["source"])
    if source.is_dir():
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if target.is_symlink():  # it could point out of the root file system
            target.unlink()
        if not target.exists():  # touching would copy it up
            target.touch(0o644)
    bind(str(source), str(target), read_only=spec["read_only"])
