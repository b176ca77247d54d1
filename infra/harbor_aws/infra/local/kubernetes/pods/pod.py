"""One pod: its containers in their order, and its status."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.objects.names import timestamp
from harbor_aws.infra.local.kubernetes.pods.pod_container import PodContainer
from harbor_aws.infra.local.kubernetes.pods.pod_status import POD_INITIALIZING, pod_status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harbor_aws.infra.local.kubernetes.pods.machine import Machine
    from harbor_aws.infra.local.kubernetes.runtime import PodObject, StatusSink

logger = logging.getLogger(__name__)

_KILL_INTERVAL_SECONDS = 0.5


class Pod:
    """Runs a pod from :meth:`begin` until its containers ended for good or :meth:`stop`."""

    def __init__(self, pod: PodObject, report: StatusSink, machine: Machine) -> None:
        self.uid = str(pod["metadata"]["uid"])
        self._spec = pod["spec"]
        self._report_status = report
        self._directory = machine.directory / "pods" / self.uid
        self._start_time = timestamp()
        self._changes: dict[str, tuple[str, str]] = {}
        self._task: asyncio.Task[None] | None = None

        def made(specs: Iterable[dict[str, object]]) -> list[PodContainer]:
            return [
                PodContainer(pod, one, machine=machine, directory=self._directory, changed=self._report)
                for one in specs
            ]

        self._init_containers = made(self._spec.get("initContainers") or ())
        self._containers = made(self._spec["containers"])

    def begin(self) -> None:
        self._directory.mkdir(parents=True)
        if self._init_containers:
            for one in (*self._containers, *self._init_containers[1:]):
                one.state.state = POD_INITIALIZING
        self._report()
        self._task = asyncio.create_task(self._run(), name=f"pod {self.uid}")
        self._task.add_done_callback(_log_failure)

    def find(self, container: str) -> PodContainer | None:
        return next((one for one in self._all if one.state.name == container), None)

    async def stop(self, *, grace_seconds: float) -> None:
        """End every container, KILL following TERM after ``grace_seconds``, and remove what the pod had."""
        if self._task is None:
            return
        for one in self._all:
            one.stop()
        if grace_seconds > 0:
            for one in self._all:
                await one.terminate()
            await asyncio.wait([self._task], timeout=grace_seconds)
        while not self._task.done():
            for one in self._all:
                await one.kill()
            await asyncio.wait([self._task], timeout=_KILL_INTERVAL_SECONDS)
        for one in self._all:
            one.log.remove()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    @property
    def _all(self) -> list[PodContainer]:
        return [*self._init_containers, *self._containers]

    async def _run(self) -> None:
        policy = self._spec.get("restartPolicy", "Always")
        for one in self._init_containers:
            if await one.run(restart_policy="OnFailure" if policy == "Always" else policy) != 0:
                return
        first, *rest = self._containers
        async with asyncio.TaskGroup() as group:
            group.create_task(first.run(restart_policy=policy))
            for one in rest:
                group.create_task(one.run(restart_policy=policy, neighbour=first))

    def _report(self) -> None:
        policy = self._spec.get("restartPolicy", "Always")
        status = pod_status(
            [one.state for one in self._containers],
            [one.state for one in self._init_containers],
            start_time=self._start_time,
            restart_policy=policy,
            changes=self._changes,
            now=timestamp(),
        )
        self._report_status(self.uid, status)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("The runtime failed %s.", task.get_name(), exc_info=error, extra={"action": "run_pod"})
