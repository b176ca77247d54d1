"""One container of a pod: started, watched, started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import InfrastructureError, PermanentError
from harbor_aws.infra.local.kubernetes.objects.names import timestamp
from harbor_aws.infra.local.kubernetes.pods.container_log import ContainerLog
from harbor_aws.infra.local.kubernetes.pods.container_spec import (
    ContainerConfigError,
    has_network,
    hostname,
    plan_container,
)
from harbor_aws.infra.local.kubernetes.pods.namespaces import StartFailedError
from harbor_aws.infra.local.kubernetes.pods.pod_status import ContainerState, start_error, terminated, waiting
from harbor_aws.infra.local.kubernetes.pods.volumes import bind_volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harbor_aws.infra.local.kubernetes.images.store import Image
    from harbor_aws.infra.local.kubernetes.pods.cgroup import MemoryCgroup
    from harbor_aws.infra.local.kubernetes.pods.container_spec import ContainerPlan
    from harbor_aws.infra.local.kubernetes.pods.machine import Machine
    from harbor_aws.infra.local.kubernetes.pods.namespaces import Process
    from harbor_aws.infra.local.kubernetes.runtime import PodObject

FIRST_BACKOFF_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 600.0
"""https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy"""


class PodContainer:
    """A container and its log. ``changed`` is called when its state has changed."""

    def __init__(
        self,
        pod: PodObject,
        container: Mapping[str, Any],
        *,
        machine: Machine,
        directory: Path,
        changed: Callable[[], None],
    ) -> None:
        self.state = ContainerState(container["name"], container["image"])
        self.log = ContainerLog(directory / f"{container['name']}.log")
        self.process: Process | None = None
        self.plan: ContainerPlan | None = None
        self.cgroup: MemoryCgroup | None = None
        self._pod = pod
        self._container = container
        self._machine = machine
        self._directory = directory
        self._changed = changed
        self._stop_signal = signal.SIGTERM
        self._stopping = asyncio.Event()
        self._backoff = 0.0

    async def run(self, *, restart_policy: str, neighbour: PodContainer | None = None) -> int:
        """Run it, again if the policy says so, until it ends for good or is stopped; its last exit code.

        Args:
            neighbour: a container of the pod to share hostname, IPC and network with, if it runs.
        """
        while True:
            began = time.monotonic()
            code = await self._run_once(neighbour.process if neighbour else None)
            if self._stopping.is_set() or restart_policy == "Never" or (restart_policy == "OnFailure" and code == 0):
                return code
            if time.monotonic() - began > BACKOFF_RESET_SECONDS:
                self._backoff = 0.0
            await self._back_off(f"container={self.state.name} pod={self._pod['metadata']['name']}")
            if self._stopping.is_set():
                return code

    def stop(self) -> None:
        """Let nothing of it start any more."""
        self._stopping.set()

    async def terminate(self) -> None:
        """Ask it to end."""
        if self.process is not None:
            with contextlib.suppress(InfrastructureError):
                await self._machine.namespaces.signal(self.process, self._stop_signal)

    async def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(InfrastructureError):
                await self._machine.namespaces.signal(self.process, signal.SIGKILL)

    async def _run_once(self, shares: Process | None) -> int:
        image = await self._image()
        if image is None:
            return 1
        container_id = uuid.uuid4().hex * 2
        try:
            self.plan = plan_container(self._pod, self._container, image.config)
            binds = bind_volumes(self._pod["spec"].get("volumes") or (), self.plan.mounts, self._directory / "volumes")
        except (ContainerConfigError, OSError) as error:
            self._set(waiting("CreateContainerConfigError", str(error)))
            await self._stopping.wait()
            return 1
        self._stop_signal = _signal_number(image.config.stop_signal)
        limit = self.plan.memory_bytes
        self.cgroup = self._machine.cgroups.create(container_id[:32], limit) if limit else None
        name = hostname(self._pod)
        root = self._machine.root(
            image,
            hostname=name,
            binds=binds,
            size_bytes=self.plan.storage_bytes,
            cgroup=self.cgroup.directory if self.cgroup else None,
        )
        output = -1
        try:
            output = self.log.open()
            process = await self._machine.namespaces.start(
                root=root,
                hostname=name,
                program=self.plan.program,
                output=output,
                cgroup=self.cgroup.procs if self.cgroup else None,
                shares=shares,
                has_network=has_network(self._pod),
            )
        except (StartFailedError, InfrastructureError, OSError) as error:
            await self._clean_up()
            self._set(start_error(f"failed to create containerd task: {error}", finished_at=timestamp()))
            return 128
        finally:
            if output >= 0:
                os.close(output)
        return await self._watch(process, container_id)

    async def _watch(self, process: Process, container_id: str) -> int:
        self.process = process
        self.state.container_id = container_id
        started_at = timestamp()
        self._set({"running": {"startedAt": started_at}})
        if self._stopping.is_set():
            await self.terminate()
        code = await process.wait()
        self.process = None
        self.log.drain()
        out_of_memory = self.cgroup is not None and code != 0 and self.cgroup.oom_kills() > 0
        await self._clean_up()
        self._set(
            terminated(
                exit_code=code,
                started_at=started_at,
                finished_at=timestamp(),
                container_id=container_id,
                out_of_memory=out_of_memory,
            )
        )
        return code

    async def _clean_up(self) -> None:
        self.log.close()
        if self.cgroup is not None:
            await self.cgroup.remove()
            self.cgroup = None

    async def _image(self) -> Image | None:
        """The image, waited for as Kubernetes does; ``None`` when stopped meanwhile."""
        name, policy = self._container["image"], self._container.get("imagePullPolicy")
        while not self._stopping.is_set():
            try:
                return await asyncio.to_thread(self._machine.images.find, name, never_pull=policy == "Never")
            except PermanentError as error:
                self._set(waiting("ErrImagePull", str(error)))
                await self._sleep(1)
                self._set(waiting("ImagePullBackOff", f'Back-off pulling image "{name}"'))
                await self._sleep(FIRST_BACKOFF_SECONDS)
        return None

    async def _back_off(self, what: str) -> None:
        """Wait before the next start; the first one is at once, as the kubelet's."""
        self.state.last_state = self.state.state
        self.state.restarts += 1
        if self._backoff:
            message = f"back-off {self._backoff:.0f}s restarting failed {what}"
            self._set(waiting("CrashLoopBackOff", message))
            await self._sleep(self._backoff)
        self._backoff = min(max(self._backoff * 2, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _set(self, state: dict[str, Any]) -> None:
        self.state.state = state
        self._changed()


def _signal_number(name: str) -> signal.Signals:
    if name.isdigit():
        return signal.Signals(int(name))
    return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
