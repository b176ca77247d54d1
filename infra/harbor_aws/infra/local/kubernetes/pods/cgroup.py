"""Memory limits, by version 1 or 2 of the kernel's control groups; none where they cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

RECORD = Path("containers", "cgroup")
"""The file below the state directory of an embedded Kubernetes that says where its pods' groups are."""

_REMOVAL_ATTEMPTS = 50
_REMOVAL_PAUSE_SECONDS = 0.02


class MemoryCgroup:
    """The group of one container."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def procs(self) -> str:
        """The file that a process enters the group by."""
        return str(self.directory / "cgroup.procs")

    def oom_kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(OSError):
                for line in (self.directory / name).read_text().splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    async def remove(self) -> None:
        for _ in range(_REMOVAL_ATTEMPTS):
            try:
                self.directory.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # its last process is not gone yet
                await asyncio.sleep(_REMOVAL_PAUSE_SECONDS)
            else:
                return
        logger.warning("The control group %s could not be removed.", self.directory, extra={"action": "leave_cgroup"})


class MemoryCgroups:
    """The groups of one runtime, below one of its own.

    Args:
        name: what that one is called.
        record: a file that remembers where it is, for a successor that may run in another group.
    """

    def __init__(self, name: str, record: Path) -> None:
        parent = _parent()
        self._root = parent / name if parent else None
        self._record = record
        self._ready = False

    def create(self, name: str, limit_bytes: int) -> MemoryCgroup | None:
        """A new group that may use ``limit_bytes``, or ``None`` if this machine does not let us limit."""
        if self._root is None or not self._prepare(self._root):
            return None
        directory = self._root / name
        try:
            directory.mkdir()
            if _is_version_2(self._root):
                (directory / "memory.max").write_text(str(limit_bytes))
                (directory / "memory.oom.group").write_text("1")  # as the kubelet does since 1.28
                swap = directory / "memory.swap.max"
                limit_swap = "0"
            else:
                (directory / "memory.limit_in_bytes").write_text(str(limit_bytes))
                swap = directory / "memory.memsw.limit_in_bytes"
                limit_swap = str(limit_bytes)
            if swap.exists():
                swap.write_text(limit_swap)
        except OSError as error:
            self._give_up(error)
            with contextlib.suppress(OSError):
                directory.rmdir()
            return None
        return MemoryCgroup(directory)

    def remove(self) -> None:
        """Remove the groups that are left of this or a killed predecessor."""
        remove_groups(self._record)
        self._ready = False

    def _prepare(self, root: Path) -> bool:
        if self._ready:
            return True
        try:
            self._record.write_text(str(root))
            root.mkdir(exist_ok=True)
            if _is_version_2(root):
                (root.parent / "cgroup.subtree_control").write_text("+memory")
                (root / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            self._give_up(error)
            return False
        self._ready = True
        return True

    def _give_up(self, error: OSError) -> None:
        logger.warning("Pods get no memory limits: %s", error, extra={"action": "skip_memory_limits"})
        self._root = None


def remove_groups(record: Path) -> None:
    """Remove the groups of a runtime whose pods are gone, and its record of them."""
    if not record.exists():
        return
    root = Path(record.read_text())
    for directory in [*root.glob("*/"), root]:
        with contextlib.suppress(OSError):
            directory.rmdir()
    record.unlink()


def _is_version_2(directory: Path) -> bool:
    return (directory / "cgroup.controllers").exists()


def _parent() -> Path | None:
    """The directory below which this process may make groups: its own one, or version 2's root.

    In version 2 a group that has processes cannot have limited children, so ours hang from the root.
    """
    version_1 = Path("/sys/fs/cgroup/memory")
    if (version_1 / "cgroup.procs").exists():
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                own = version_1 / path.lstrip("/")
                return own if own.is_dir() else version_1
    version_2 = Path("/sys/fs/cgroup")
    return version_2 if (version_2 / "cgroup.controllers").exists() else None
