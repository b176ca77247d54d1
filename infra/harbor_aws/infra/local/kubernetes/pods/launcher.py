"""The process that starts the containers' processes: one a server, small, single-threaded, standard library only.

Forking it costs a millisecond and sharing its memory costs nothing, whatever the server's size. It is the parent of
every container's program and of every exec'd one, so it alone signals and reaps them. A container's program is process
1 of its pid namespace, as everywhere: signals that it does not handle do nothing to it, orphans are its own to reap,
and with it goes all else in the container, the mounts too.

The launcher is process 1 of a pid namespace that has the containers' in it. When the server goes, its socket closes,
and the launcher exits; when it goes, however it went, the kernel kills every container. ``PR_SET_PDEATHSIG`` in each
would not do: a program that changes its user, as many an image's entrypoint does, would be rid of it.
https://man7.org/linux/man-pages/man7/pid_namespaces.7.html

Run as ``python -m harbor_aws.infra.local.kubernetes.pods.launcher FD``, ``FD`` being a ``SOCK_SEQPACKET`` socket. A
request is one packet: the names of the descriptors that come with it, the first being a memory file with the request
as JSON.
An event is one packet of JSON: ``{"id": …, "status": <wait status>}``, the end of a started process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harbor_aws.infra.local.kubernetes.pods.copying import make_working_directory, pack, pack_everything, unpack
from harbor_aws.infra.local.kubernetes.pods.mounts import enter_root
from harbor_aws.infra.local.kubernetes.pods.program import ProgramError, attach, attach_terminal, become, make_directory
from harbor_aws.infra.local.kubernetes.pods.syscalls import (
    PR_SET_NAME,
    PR_SET_PDEATHSIG,
    prctl,
    raise_loopback,
    set_hostname,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Request = dict[str, Any]
    Descriptors = dict[str, int]

SHARED_IN_POD = os.CLONE_NEWUTS | os.CLONE_NEWIPC
COPYING: dict[str, Callable[..., None]] = {
    "pack": pack,
    "unpack": unpack,
    "pack_everything": pack_everything,
    "make_working_directory": make_working_directory,
}
MAX_DESCRIPTORS = 8


class Launcher:
    """Serves requests until the socket closes."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._ids: dict[int, int] = {}
        """Request ids of the children, by pid."""
        self._containers: dict[int, tuple[int, int, int]] = {}
        """Pid and pidfd of the containers' first processes, and which namespaces they have, by request id."""
        self._operations: dict[str, Callable[[Request, Descriptors], None]] = {
            "start": self._start,
            "exec": self._exec,
            "copy": self._copy,
            "signal": self._signal,
        }

    def serve(self) -> None:
        wake, wake_writer = os.pipe()
        os.set_blocking(wake_writer, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        gc.freeze()
        while True:
            ready, _, _ = select.select([self._server.fileno(), wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if self._server.fileno() in ready and not self._receive():
                return

    def _receive(self) -> bool:
        names, descriptors, _, _ = socket.recv_fds(self._server, 4096, MAX_DESCRIPTORS)
        if not names:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        given = dict(zip(names.decode().split(), descriptors, strict=True))
        try:
            request = json.loads(os.pread(given["request"], os.fstat(given["request"]).st_size, 0))
            self._operate(request, given)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _operate(self, request: Request, given: Descriptors) -> None:
        try:
            self._operations[request["operation"]](request, given)
        except OSError as error:  # no more processes, or the container is just ending: nobody else's trouble
            if "status" in given:
                with socket.socket(fileno=os.dup(given["status"])) as status, contextlib.suppress(OSError):
                    status.send(str(error).encode())
                self._report(request["id"], 127 << 8)
        finally:
            os.setns(self._own_pids, os.CLONE_NEWPID)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._report(self._ids.pop(pid), status)

    def _report(self, identifier: int, status: int) -> None:
        if identifier in self._containers:
            os.close(self._containers.pop(identifier)[1])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._server.send(json.dumps({"id": identifier, "status": status}).encode())

    def _signal(self, request: Request, _: Descriptors) -> None:
        if request["id"] in self._containers:
            signal.pidfd_send_signal(self._containers[request["id"]][1], request["signal"])

    def _start(self, request: Request, given: Descriptors) -> None:
        identifier, shared = request["id"], request["shares"]
        shared_pidfd = self._containers[shared][1] if shared in self._containers else None
        os.unshare(os.CLONE_NEWPID)
        pid = self._fork(identifier, given, lambda _: _contain(request, given, shared_pidfd))
        self._containers[identifier] = (pid, os.pidfd_open(pid), os.CLONE_NEWNS | _shared_in_pod(request))

    def _exec(self, request: Request, given: Descriptors) -> None:
        self._fork_inside(request, given, request["container"], lambda status: _execute(request, given, status))

    def _copy(self, request: Request, given: Descriptors) -> None:
        """Run a function of :mod:`.copying` in a container, or in a directory."""
        work = COPYING[request["action"]]

        def run(status: socket.socket) -> NoReturn:
            if "directory" in request:
                os.chroot(request["directory"])
                os.chdir("/")
            try:
                work(given["stream"], **request["arguments"])
            except BrokenPipeError:
                os._exit(0)  # the other half says what was wrong
            except (tarfile.TarError, OSError, ValueError, ProgramError) as error:
                status.send(str(error).encode())
                os._exit(1)
            os._exit(0)

        if "directory" in request:
            self._fork(request["id"], given, run)
        else:
            self._fork_inside(request, given, request["container"], run)

    def _fork_inside(
        self, request: Request, given: Descriptors, container: int, run: Callable[[socket.socket], NoReturn]
    ) -> None:
        """Fork a child into a container; one that has ended is reported as the child's failure."""
        _, pidfd, namespaces = self._containers.get(container, (None, None, 0))

        def enter(status: socket.socket) -> NoReturn:
            if pidfd is None:
                raise ProgramError("cannot exec in a stopped container")
            _join(request["cgroup"])
            os.setns(pidfd, namespaces)
            run(status)

        try:
            if pidfd is not None:
                os.setns(pidfd, os.CLONE_NEWPID)
        except OSError:  # its first process is just dying
            pidfd = None
        self._fork(request["id"], given, enter)

    def _fork(self, identifier: int, given: Descriptors, run: Callable[[socket.socket], NoReturn]) -> int:
        pid = os.fork()
        if pid:
            self._ids[pid] = identifier
            return pid
        status = socket.socket(fileno=given["status"])
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            run(status)
        except (ProgramError, OSError) as error:
            with contextlib.suppress(OSError):
                status.send(str(error).encode())
            os._exit(127)
        except BaseException as error:  # noqa: BLE001 - a forked child must never go on with the parent's work
            with contextlib.suppress(OSError):
                status.send(repr(error).encode())
            os._exit(125)


def _contain(request: Request, given: Descriptors, shared_pidfd: int | None) -> NoReturn:
    """Make a container around this process, the first of its pid namespace, and become its program."""
    os.unshare(os.CLONE_NEWNS)
    if shared_pidfd is None:
        os.unshare(_shared_in_pod(request))
        set_hostname(request["hostname"])
        if not request["has_network"]:
            raise_loopback()
    else:
        os.setns(shared_pidfd, _shared_in_pod(request))
    cgroup = os.open(request["cgroup"], os.O_WRONLY) if request["cgroup"] else None
    null = os.open("/dev/null", os.O_RDWR)
    enter_root(request["root"])
    program = request["program"]
    if program is None:
        _keep_house(null)
    make_directory(program["cwd"] or "/")
    if cgroup is not None:
        os.write(cgroup, b"0")
    attach(given)
    become(program)


def _shared_in_pod(request: Request) -> int:
    """The namespaces that all containers of a pod are in. This machine's network is left alone, not joined: who may
    not enter it may have it all the same."""
    return SHARED_IN_POD if request["has_network"] else SHARED_IN_POD | os.CLONE_NEWNET


def _execute(request: Request, given: Descriptors, status: socket.socket) -> NoReturn:
    program = request["program"]
    if request["terminal"]:
        attach_terminal(status, program["user"])
    else:
        attach(given)
    become(program)


def _join(cgroup: str | None) -> None:
    if cgroup:
        Path(cgroup).write_text("0")


def _keep_house(null: int) -> NoReturn:
    """Be what keeps a container without a program: hold nothing open, leave no zombies, wait to be killed."""
    prctl(PR_SET_NAME, b"init")
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        signal.pause()


def main() -> None:
    server = socket.socket(fileno=int(sys.argv[1]))
    server.set_inheritable(False)
    os.umask(0)
    with contextlib.suppress(OSError):  # who may not have namespaces is told so when the first container starts
        os.unshare(os.CLONE_NEWPID)
    launcher = os.fork()
    if launcher:
        server.close()
        os.waitpid(launcher, 0)  # all of its pid namespace is gone by then
    else:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Launcher(server).serve()


if __name__ == "__main__":
    main()
