"""What Linux says of a process's memory and threads. https://man7.org/linux/man-pages/man5/proc_pid_status.5.html"""

from __future__ import annotations

import os
from pathlib import Path


def resident_kib(pid: int | None = None) -> int:
    return _status("VmRSS", pid)


def peak_resident_kib(pid: int | None = None) -> int:
    """The most that was resident since the program began, or since :func:`forget_peak`."""
    return _status("VmHWM", pid)


def forget_peak() -> None:
    """Let this process's peak begin anew. https://docs.kernel.org/filesystems/proc.html (``clear_refs``)"""
    Path("/proc/self/clear_refs").write_text("5")


def thread_count() -> int:
    return _status("Threads", None)


def _status(name: str, pid: int | None) -> int:
    for line in Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0  # a process that has ended has no memory
