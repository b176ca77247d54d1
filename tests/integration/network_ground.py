"""Network namespaces to run scripts in: one alone, and one with a neighbour that a cable joins it to.

Nothing that is tried in them can leave them: neither has a way out.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN = ("10.99.0.1", 443)
"""Where the neighbour listens."""
CLOSED = ("10.99.0.1", 81)
"""Where nobody does."""
SILENT = ("10.99.0.8", 443)
"""An address that nobody has, though the namespace believes to know whose it is: what is sent there is lost."""
NOWHERE = ("203.0.113.1", 443)
"""To which there is no route."""

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""The machine's own programs, without those that a tool put before them."""

_LISTEN = """
import os, socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
os.write(1, b"ready")
while True:
    server.accept()[0].close()
"""


class Ground:
    """A network namespace, made as a pod's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str, *, by: tuple[str, ...] = ("/bin/sh",), path: Path | None = None) -> str:
        """What the script prints, run ``by`` a shell with the programs of ``path`` alone."""
        command = ["ip", "netns", "exec", self.name, "env", f"PATH={path or SYSTEM_PATH}", *by]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout


@contextlib.contextmanager
def alone() -> Iterator[Ground]:
    """With a loopback interface, and nothing else."""
    with _namespace() as name:
        yield Ground(name)


@contextlib.contextmanager
def with_neighbour() -> Iterator[Ground]:
    """With an interface on which a neighbour answers."""
    with _namespace() as name, _namespace() as other:
        _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other)
        for each, address in ((name, "10.99.0.2/24"), (other, f"{OPEN[0]}/24")):
            _ip("-n", each, "address", "add", address, "dev", "eth0")
            _ip("-n", each, "link", "set", "eth0", "up")
        _ip("-n", name, "neighbour", "add", SILENT[0], "lladdr", "02:00:00:00:00:08", "dev", "eth0", "nud", "permanent")
        command = ["ip", "netns", "exec", other, sys.executable, "-c", _LISTEN, OPEN[0], str(OPEN[1])]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.read(5) == b"ready"
                yield Ground(name)
            finally:
                server.kill()


def programs(directory: Path, *names: str) -> Path:
    """A directory of these programs alone; those that begin with ``busybox:`` are BusyBox's."""
    directory.mkdir(parents=True)
    for name in names:
        applet = name.removeprefix("busybox:")
        found = shutil.which("busybox" if applet != name else applet)
        if found is None:
            pytest.skip(f"there is no {applet} on this machine")
        real = sys.executable if applet == "python3" else found
        if applet == "python3":  # by a link, a virtual environment's would not find its library
            (directory / applet).write_text(f'#!/bin/sh\nexec {real} "$@"\n')
            (directory / applet).chmod(0o755)
        else:
            (directory / applet).symlink_to(real)
    return directory


@contextlib.contextmanager
def _namespace() -> Iterator[str]:
    if shutil.which("ip") is None:
        pytest.skip("there is no ip on this machine (Debian's package iproute2)")
    name = f"harbor-aws-test-{uuid.uuid4().hex[:8]}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
