"""The trials' pods as the cluster has them: watched for the history, and harmed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from tests.chaos.jobs.events import Kind

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import InfrastructureError
from harbor_aws.infra.labels import PREFIX, WORKER_LABEL
from harbor_aws.infra.presence import leases_path
from harbor_aws.worker.exec.stream import CONTAINER

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from tests.chaos.jobs.history import History

    from harbor_aws.infra.stack import KubernetesAccess

Json = dict[str, Any]

EXHAUST = "echo 1000 > /proc/1/oom_score_adj; head -c 4G /dev/zero | tail -c 4G"
"""Takes memory without end, and sees to it that the kernel takes the container's first process for that."""

_EXHAUST_SECONDS = 60
_ONE_SECONDS = 15


class Pods:
    """Make it with :meth:`open`."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self._history = history
        self._pods: dict[str, Json] = {}
        self._removed: dict[str, Json] = {}
        self._exhausted: set[str] = set()
        """Trials, each of which may be out of memory once: the second time makes a dead letter, and rightly."""

    @classmethod
    @asynccontextmanager
    async def open(cls, access: KubernetesAccess, history: History) -> AsyncIterator[Self]:
        """Watch for the length of an ``async with``."""
        async with Cluster.open(access) as cluster:
            await cluster.ensure_namespace()
            pods = cls(cluster, history)
            watching = asyncio.create_task(pods._watch())
            try:
                yield pods
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    def running(self) -> list[str]:
        """Names of the pods that run, in order."""
        return sorted(
            name
            for name, pod in self._pods.items()
            if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
        )

    async def left(self) -> list[str]:
        """What there is of our making: pods, and signs of life."""
        pods = await self._cluster.list_pods(selector=WORKER_LABEL)
        leases = await self._cluster.request("GET", leases_path(self._cluster.namespace))
        return [
            *(f"pod {item['metadata']['name']}" for item in pods["items"]),
            *(f"lease {item['metadata']['name']}" for item in leases["items"]),
        ]

    async def delete(self, draw: random.Random, *, count: int) -> None:
        """Delete running pods at once, as an eviction does."""
        running = self.running()
        for name in draw.sample(running, min(count, len(running))):
            with suppress(InfrastructureError):
                options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
                await self._cluster.request("DELETE", f"{self._cluster.pods_path}/{name}", body=options)
                self._history.fault("pod deleted")

    async def exhaust(self, draw: random.Random) -> None:
        """Make a running pod use up its memory; another one, if its trial was over before that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXHAUST_SECONDS):
                while not await self._one_is_exhausted(draw):
                    await asyncio.sleep(0.5)

    async def _one_is_exhausted(self, draw: random.Random) -> bool:
        running = [name for name in self.running() if self._trial(name) not in self._exhausted]
        if not running:
            return False
        name = draw.choice(running)
        self._exhausted.add(self._trial(name))
        with suppress(InfrastructureError):
            await self._exhaust(name)
        if await self._was_killed(name):
            self._history.fault("pod out of memory")
            return True
        return False

    def _trial(self, name: str) -> str:
        labels = self._pods[name]["metadata"]["labels"]
        return "/".join((labels[f"{PREFIX}job"], labels[f"{PREFIX}trial"]))

    async def _exhaust(self, name: str) -> None:
        words = [("command", word) for word in ("sh", "-c", EXHAUST)]
        socket = await self._cluster.open_websocket(
            f"{self._cluster.pods_path}/{name}/exec",
            query=[*words, ("container", CONTAINER), ("stdout", "true")],
            protocols=["v4.channel.k8s.io"],
            heartbeat_seconds=None,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(_ONE_SECONDS):
                while not (await socket.receive()).type.name.startswith("CLOS"):
                    pass
        await socket.close()

    async def _was_killed(self, name: str) -> bool:
        """Whether the watch says so, before long. The pod itself may be removed by then."""
        for _ in range(30):
            status = (self._pods.get(name) or self._removed.get(name) or {"status": {}})["status"]
            states = [each.get("state", {}) for each in status.get("containerStatuses", [])]
            if any(state.get("terminated", {}).get("reason") == "OOMKilled" for state in states):
                return True
            await asyncio.sleep(0.1)
        return False

    async def _watch(self) -> None:
        while True:
            with suppress(InfrastructureError):
                found = await self._cluster.list_pods(selector=WORKER_LABEL)
                known = {item["metadata"]["name"]: item for item in found["items"]}
                for name in self._pods.keys() - known.keys():
                    self._gone(self._pods.pop(name))
                for item in known.values():
                    self._seen(item)
                events = self._cluster.watch(
                    self._cluster.pods_path,
                    resource_version=found["metadata"]["resourceVersion"],
                    query={"labelSelector": WORKER_LABEL},
                )
                async with aclosing(events):
                    async for event in events:
                        self._take(event)
            await asyncio.sleep(0.2)

    def _take(self, event: Json) -> None:
        if event["type"] in ("ADDED", "MODIFIED"):
            self._seen(event["object"])
        elif event["type"] == "DELETED" and self._pods.pop(event["object"]["metadata"]["name"], None):
            self._gone(event["object"])

    def _seen(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        if name not in self._pods:
            self._history.add(Kind.POD_MADE, note=name, **_whose(pod))
        self._pods[name] = pod

    def _gone(self, pod: Json) -> None:
        self._removed[pod["metadata"]["name"]] = pod
        self._history.add(Kind.POD_GONE, note=pod["metadata"]["name"], **_whose(pod))


def _whose(pod: Json) -> dict[str, str]:
    annotations = pod["metadata"].get("annotations", {})
    return {name: annotations.get(PREFIX + name, "") for name in ("job", "trial")}
