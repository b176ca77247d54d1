"""Turns the current process, already in its container's namespaces, into the container's program.

Runs in a child of the launcher: standard library only, and nothing may be imported late, the container's root being
another than the one that this Python came from.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import termios
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypedDict

from harbor_aws.infra.local.kubernetes.pods.syscalls import PR_SET_NO_NEW_PRIVS, keep_capabilities, prctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
# NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
DEFAULT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})
"""What a container has by default, everywhere.
https://github.com/containerd/containerd/blob/main/pkg/oci/spec.go"""


class ProgramSpec(TypedDict):
    """What to execute, and as whom."""

    args: list[str]
    env: dict[str, str]
    cwd: str
    user: str
    """``user``, ``uid``, ``user:group`` or ``uid:gid``; empty is root."""
    groups: list[int]
    """Supplementary groups besides those of ``/etc/group``."""
    no_new_privileges: bool


class ProgramError(Exception):
    """The program cannot be executed; the text is runc's."""


def become(spec: ProgramSpec) -> NoReturn:
    """Take on the user, the directory and the environment, and execute.

    Raises:
        ProgramError: it cannot be done.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:  # an ignored one would be inherited
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    identity = resolve_user(spec["user"])
    env = {"PATH": DEFAULT_PATH, "HOME": identity.home} | spec["env"]
    _enter_directory(spec["cwd"] or "/")
    keep_capabilities(DEFAULT_CAPABILITIES)
    if spec["no_new_privileges"]:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    _become_user(identity, spec["groups"])
    executable = find_executable(spec["args"][0], env["PATH"])
    try:
        os.execve(executable, spec["args"], env)  # noqa: S606 - executing it is the point
    except OSError as error:
        raise ProgramError(f'exec: "{spec["args"][0]}": {_go_text(error)}') from error


def _enter_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise ProgramError(f'chdir to cwd ("{path}") set in config.json failed: {_go_text(error)}') from error


def _go_text(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def find_executable(name: str, search_path: str) -> str:
    """The file that ``name`` stands for, as Go's ``exec.LookPath`` finds it."""
    if "/" in name:
        try:
            mode = Path(name).stat().st_mode
        except OSError as error:
            raise ProgramError(f'exec: "{name}": stat {name}: {_go_text(error)}') from error
        if stat.S_ISDIR(mode):
            raise ProgramError(f'exec: "{name}": is a directory')
        if not mode & 0o111:
            raise ProgramError(f'exec: "{name}": permission denied')
        return name
    for directory in search_path.split(":"):
        candidate = Path(directory) / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise ProgramError(f'exec: "{name}": executable file not found in $PATH')


class Identity:
    """Who a user specification means in this root file system."""

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def resolve_user(user: str) -> Identity:
    """Look ``user`` up in ``/etc/passwd`` and ``/etc/group`` of the root file system.

    Raises:
        ProgramError: there is no such user or group.
    """
    name, _, group = (user or "0").partition(":")
    entry = next((row for row in _rows("/etc/passwd", 7) if row[0] == name), None)
    if entry is None and name.isdigit():
        entry = next((row for row in _rows("/etc/passwd", 7) if row[2] == name), None)
    if entry is None and not name.isdigit():
        raise ProgramError(f"unable to find user {name}: no matching entries in passwd file")
    uid, gid, home = (int(entry[2]), int(entry[3]), entry[5] or "/") if entry else (int(name), 0, "/")
    groups = [] if group else [int(row[2]) for row in _rows("/etc/group", 4) if entry and entry[0] in row[3].split(",")]
    return Identity(uid, resolve_group(group) if group else gid, groups, home)


def resolve_group(group: str) -> int:
    """The number of ``group``, a name or a number.

    Raises:
        ProgramError: there is no such group.
    """
    found = next((int(row[2]) for row in _rows("/etc/group", 4) if row[0] == group), None)
    if found is not None:
        return found
    if group.isdigit():
        return int(group)
    raise ProgramError(f"unable to find group {group}: no matching entries in group file")


def _rows(path: str, fields: int) -> Iterable[list[str]]:
    try:
        rows = [line.split(":") for line in Path(path).read_text("utf-8", "replace").splitlines()]
    except OSError:
        return []
    return [row for row in rows if len(row) >= fields and row[2].isdigit()]


def _become_user(identity: Identity, extra_groups: list[int]) -> None:
    os.setgroups(sorted({identity.gid, *identity.groups, *extra_groups}))
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def attach(stdio: Mapping[str, int]) -> None:
    """Make the given descriptors ``stdin``, ``stdout`` and ``stderr``; what is missing is ``/dev/null``."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(stdio[name] if name in stdio else _null(), number, inheritable=True)


def attach_terminal(status: socket.socket, user: str) -> None:
    """Open a terminal of the container, send its other end over ``status``, and make it the controlling one."""
    ours, theirs = os.openpty()
    socket.send_fds(status, [b"tty"], [ours])
    os.close(ours)
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    os.fchown(theirs, resolve_user(user).uid, -1)
    for number in range(3):
        os.dup2(theirs, number, inheritable=True)


def _null() -> int:
    return os.open("/dev/null", os.O_RDWR)


def make_directory(path: str) -> None:
    """Make a working directory that the image lacks, as runc does."""
    try:
        Path(path).mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ProgramError(f"mkdir {path}: {_go_text(error)}") from error
