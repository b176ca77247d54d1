"""Runs pods as process trees in namespaces of their own, on copy-on-write views of root file systems."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
from typing import IO, TYPE_CHECKING

from harbor_aws.infra.errors import InfrastructureError, UsageError
from harbor_aws.infra.local.kubernetes.images.build import Builder
from harbor_aws.infra.local.kubernetes.images.image_export import export_image
from harbor_aws.infra.local.kubernetes.images.store import ImageStore
from harbor_aws.infra.local.kubernetes.pods.cgroup import RECORD, MemoryCgroups
from harbor_aws.infra.local.kubernetes.pods.exec_process import ContainerProcess, exec_failed
from harbor_aws.infra.local.kubernetes.pods.machine import Machine
from harbor_aws.infra.local.kubernetes.pods.namespaces import Namespaces, StartFailedError
from harbor_aws.infra.local.kubernetes.pods.pod import Pod
from harbor_aws.infra.local.kubernetes.pods.privileges import check_privileges
from harbor_aws.infra.local.kubernetes.runtime import ExecFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from pathlib import Path

    from harbor_aws.infra.local.kubernetes.pods.program import ProgramSpec
    from harbor_aws.infra.local.kubernetes.runtime import PodObject, StatusSink

_SWEPT = ("pods", "builds", "stage")


class ContainerRuntime:
    """Implements :class:`~harbor_aws.infra.local.kubernetes.runtime.PodRuntime`.

    It isolates files and processes, not hostile programs. Pods share this machine's network, but for those that are
    labelled to have none (:data:`~harbor_aws.infra.labels.NETWORK_LABEL`). What a pod writes is kept in memory and
    counts towards its memory limit.
    """

    def __init__(self, state_directory: Path, rootfs: Mapping[str, Path]) -> None:
        """Take over ``state_directory`` and sweep what a killed predecessor left in it.

        Args:
            rootfs: directories or tar archives of root file systems, by the image names that stand for them.

        Raises:
            UsageError: this machine does not let us make namespaces, another runtime has the directory, or a root file
                system does not exist.
        """
        check_privileges()
        directory = state_directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(directory / "lock")
        for name in _SWEPT:
            shutil.rmtree(directory / name, ignore_errors=True)
            (directory / name).mkdir()
        cgroups = MemoryCgroups(
            f"harbor-aws-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}", directory / RECORD.name
        )
        cgroups.remove()
        self._machine = Machine(directory, Namespaces(), ImageStore(directory / "images", rootfs), cgroups)
        self._builder = Builder(self._machine)
        self._pods: dict[str, Pod] = {}

    async def start(self, pod: PodObject, report: StatusSink) -> None:
        self._pods[pod["metadata"]["uid"]] = started = Pod(pod, report, self._machine)
        started.begin()

    async def stop(self, uid: str, *, grace_seconds: float) -> None:
        pod = self._pods.get(uid)
        if pod is not None:
            await pod.stop(grace_seconds=grace_seconds)
            self._pods.pop(uid, None)

    async def exec(
        self, uid: str, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ContainerProcess:
        pod = self._pods.get(uid)
        found = pod.find(container) if pod else None
        if found is None or found.process is None or found.plan is None:
            raise ExecFailedError(f'container not found ("{container}")')
        program: ProgramSpec = {**found.plan.program, "args": list(command)}
        if tty:
            program["env"] = {"TERM": "xterm"} | program["env"]
        ours, theirs = _pipes(stdin=stdin, tty=tty)
        cgroup = found.cgroup.procs if found.cgroup else None
        try:
            process, terminal = await self._machine.namespaces.execute(
                found.process, program, theirs, terminal=tty, cgroup=cgroup
            )
        except (StartFailedError, InfrastructureError) as error:
            _close(ours.values())
            raise exec_failed(str(error)) from error
        except BaseException:
            _close(ours.values())
            raise
        finally:
            _close(theirs.values())
        return ContainerProcess(
            process, stdin=ours.get("stdin"), stdout=ours.get("stdout"), stderr=ours.get("stderr"), terminal=terminal
        )

    async def logs(
        self, uid: str, container: str, *, follow: bool, tail_lines: int | None, limit_bytes: int | None
    ) -> AsyncIterator[bytes]:
        pod = self._pods.get(uid)
        found = pod.find(container) if pod else None
        if found is None:
            return
        async for chunk in found.log.read(follow=follow, tail_lines=tail_lines, limit_bytes=limit_bytes):
            yield chunk

    async def build(self, image: str, context_tar: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return await self._builder.build(image, context_tar)

    async def export_image(self, image: str, out: Path) -> None:
        """Write an image, flattened to one layer, as a docker archive that any container runtime imports.

        Raises:
            UsageError: it stands on this machine's root file system, which is no image.
        """
        await export_image(self._machine, image, out)

    async def close(self) -> None:
        await asyncio.gather(*(self.stop(uid, grace_seconds=0) for uid in list(self._pods)))
        await self._builder.close()
        await self._machine.namespaces.close()
        self._machine.cgroups.remove()
        for name in _SWEPT:
            await asyncio.to_thread(shutil.rmtree, self._machine.directory / name, ignore_errors=True)
        (self._machine.directory / "lock").unlink(missing_ok=True)
        self._lock.close()


def _locked(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"{path.parent} is in use by another embedded Kubernetes; stop it first.") from None
    return file


def _pipes(*, stdin: bool, tty: bool) -> tuple[dict[str, int], dict[str, int]]:
    """Our ends and the container's ends of a process's pipes; a terminal is opened in the container instead."""
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    if tty:
        return ours, theirs
    for name in ("stdin", "stdout", "stderr") if stdin else ("stdout", "stderr"):
        reader, writer = os.pipe()
        ours[name], theirs[name] = (writer, reader) if name == "stdin" else (reader, writer)
    return ours, theirs


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
