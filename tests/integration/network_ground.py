"""Network namespaces to run scripts in: one alone, and one with a neighbour that a cable joins it to.

Nothing that is tried in them can leave them: neither has a way out.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN = ("10.99.0.1", 443)
"""Where the neighbour listens."""
CLOSED = ("10.99.0.1", 81)
"""Where nobody does."""
SILENT = ("10.99.0.8", 443)
"""An address that nobody has, though the namespace believes to know whose it is: what is sent there is lost."""
NOWHERE = ("203.0.113.1", 443)
"""To which there is no route."""

SILENT_IPV6 = "2001:db8:99::8"
"""The same, where the namespace has IPv6."""
NAME_SERVER = "127.0.0.1"
"""Has the address of :data:`SILENT` for every name, where it runs."""

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""The machine's own programs, without those that a tool put before them."""

_LISTEN = """
import os, socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
os.write(1, b"ready")
while True:
    server.accept()[0].close()
"""

_ANSWER_NAMES = """
import os, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
os.write(1, b"ready")
while True:
    asked, sender = server.recvfrom(512)
    end = asked.index(b"\\0", 12) + 5
    is_ipv4 = asked[end - 4:end - 2] == b"\\0\\1"
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4" + socket.inet_aton(sys.argv[2])
    head = asked[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([is_ipv4]) + b"\\0" * 4
    server.sendto(head + asked[12:end] + record * is_ipv4, sender)
"""
"""The format is of RFC 1035, section 4."""


class Ground:
    """A network namespace, made as a pod's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(
        self,
        script: str,
        *,
        by: tuple[str, ...] = ("/bin/sh",),
        path: Path | None = None,
        resolv_conf: Path = Path("/etc/resolv.conf"),
    ) -> str:
        """What the script prints, run ``by`` a shell with the programs of ``path`` alone."""
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'  # of a mount namespace that ip has made
        command = ["ip", "netns", "exec", self.name, "sh", "-c", mount, str(resolv_conf)]
        command += ["env", f"PATH={path or SYSTEM_PATH}", *by]
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
        with _serving(other, _LISTEN, OPEN[0], str(OPEN[1])):
            yield Ground(name)


@contextlib.contextmanager
def dead_end(*, has_ipv6: bool) -> Iterator[Ground]:
    """With an interface by which everything leaves and nothing comes back, as behind a security group."""
    with _namespace() as name, _namespace() as other:
        _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other)
        for each in (name, other):
            _ip("-n", each, "link", "set", "eth0", "up")
        _lead(name, "10.99.0.2/24", by=SILENT[0])
        if has_ipv6:
            _lead(name, "2001:db8:99::2/64", by=SILENT_IPV6)
        yield Ground(name)


@contextlib.contextmanager
def answering_names(ground: Ground) -> Iterator[None]:
    """A name server on the loopback interface."""
    with _serving(ground.name, _ANSWER_NAMES, NAME_SERVER, SILENT[0]):
        yield


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


@contextlib.contextmanager
def _serving(namespace: str, program: str, *arguments: str) -> Iterator[None]:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.read(5) == b"ready"
            yield
        finally:
            server.kill()


def _lead(name: str, address: str, *, by: str) -> None:
    """Everything of the address' family is sent to a neighbour that nobody is."""
    _ip("-n", name, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    _ip("-n", name, "neighbour", "add", by, "lladdr", "02:00:00:00:00:08", "dev", "eth0", "nud", "permanent")
    _ip("-n", name, "route", "add", "default", "via", by)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
