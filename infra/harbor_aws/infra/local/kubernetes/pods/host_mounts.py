"""Which of this machine's file systems a container on its root sees, and what in them it does not. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harbor_aws.infra.local.kubernetes.pods.mounts import HiddenSpec

HOST_ROOT = "/"
HIDDEN = {"/tmp": 0o1777, "/run": 0o755, "/run/lock": 0o1777}  # noqa: S108 - these are the container's own
"""Directories that a container has of its own, with their modes."""
_KERNEL_DIRECTORIES = ("/proc", "/sys", "/dev")
_DISKLESS = frozenset({"btrfs", "zfs", "overlay", "virtiofs", "9p", "nfs", "nfs4", "fuse", "fuseblk"})
"""Kinds that the kernel lists as ``nodev`` though they hold files as a disk does."""
_READ_ONLY_IMAGES = frozenset({"squashfs", "iso9660", "erofs"})


@dataclass(frozen=True, slots=True)
class BaseMount:
    """One file system."""

    path: str
    hidden: tuple[HiddenSpec, ...] = ()


def host_mounts(mountinfo: str, filesystems: str, state_directory: PurePath) -> tuple[BaseMount, ...]:
    """The root and every disk mounted below it.

    Args:
        mountinfo: content of ``/proc/self/mountinfo``.
        filesystems: content of ``/proc/filesystems``.
        state_directory: the runtime's own, which containers must not see.
    """
    hidden = dict(HIDDEN)
    if not any(state_directory.is_relative_to(one) for one in HIDDEN):
        hidden[str(state_directory)] = 0o755
    paths = [HOST_ROOT, *_disks(mountinfo, filesystems, [*hidden, *_KERNEL_DIRECTORIES])]
    return tuple(
        BaseMount(
            path,
            tuple(
                {"path": str(PurePath(one).relative_to(path)), "mode": mode}
                for one, mode in hidden.items()
                if _mount_of(PurePath(one), paths) == path
            ),
        )
        for path in paths
    )


def _disks(mountinfo: str, filesystems: str, skipped: list[str]) -> Iterator[str]:
    kinds = {line.split()[-1] for line in filesystems.splitlines() if line.split() and not line.startswith("nodev")}
    kinds = (kinds | _DISKLESS) - _READ_ONLY_IMAGES
    seen = {HOST_ROOT}
    for line in mountinfo.splitlines():
        fields = line.split()
        path = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), fields[4])
        if path in seen or fields[fields.index("-") + 1] not in kinds:
            continue
        if not any(PurePath(path).is_relative_to(one) for one in skipped):
            seen.add(path)
            yield path


def _mount_of(path: PurePath, mounts: list[str]) -> str:
    return max((one for one in mounts if path.is_relative_to(one)), key=len)
