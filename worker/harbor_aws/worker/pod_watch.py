"""What the cluster says of this process's pods, followed by one watch."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.worker.pod_spec import worker_selector
from harbor_aws.worker.pod_status import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.worker.pod import Pod

logger = logging.getLogger(__name__)

Json = dict[str, Any]

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""Between two tries to take up a watch that broke; doubled each time that nothing came of one."""


class PodWatch:
    """Tells ``pods``, by name, all that is new about them. Belongs to one event loop."""

    def __init__(self, cluster: Cluster, *, worker: str, pods: Mapping[str, Pod]) -> None:
        self._cluster = cluster
        self._selector = worker_selector(worker)
        self._pods = pods

    async def catch_up(self) -> str:
        """Compare all of our pods with what the cluster has; the resourceVersion to watch from."""
        before = {name: pod for name, pod in self._pods.items() if pod.uid is not None}
        found = await self._cluster.list_pods(selector=self._selector)
        items = {item["metadata"]["name"]: item for item in found["items"]}
        for name, pod in before.items():
            if name not in items:
                pod.lose(Reason("Deleted", "it was missing when the watch was taken up again"))
        for name, item in items.items():
            if name in self._pods:
                self._pods[name].see({**item, "kind": "Pod"})
        version: str = found["metadata"]["resourceVersion"]
        return version

    async def follow(self, version: str) -> None:
        """See every change, for ever. After anything that goes wrong, what was missed is listed."""
        known: str | None = version
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if known is None:
                    known = await self.catch_up()
                events = self._cluster.watch(
                    self._cluster.pods_path, resource_version=known, query={"labelSelector": self._selector}
                )
                async with aclosing(events):
                    async for event in events:
                        known = event["object"]["metadata"]["resourceVersion"]
                        self._see(event)
                        pause = FIRST_PAUSE_SECONDS
            except Exception as error:  # without the watch no pod would ever be seen to run or to end again
                logger.warning(
                    "The watch on pods broke and is taken up again in %.0f s: %s",
                    pause,
                    error if isinstance(error, InfrastructureError) else repr(error),
                    exc_info=None if isinstance(error, InfrastructureError) else error,
                    extra={"action": "watch"},
                )
                await asyncio.sleep(pause)
                known, pause = None, min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _see(self, event: Json) -> None:
        metadata = event["object"]["metadata"]
        pod = self._pods.get(metadata.get("name", ""))
        if pod is None or event["type"] == "BOOKMARK":
            return
        if event["type"] != "DELETED":
            pod.see(event["object"])
        elif pod.uid in (None, metadata["uid"]):
            pod.see(event["object"])
            pod.lose(Reason("Deleted", "somebody deleted it"))
