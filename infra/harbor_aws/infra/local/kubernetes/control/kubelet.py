"""Gives the pods of the store to the runtime, and the runtime's reports to the store."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.local.kubernetes.control.pod_events import pod_events
from harbor_aws.infra.local.kubernetes.objects.names import parse_timestamp, timestamp
from harbor_aws.infra.local.kubernetes.objects.pod_rules import scheduled_status
from harbor_aws.infra.local.kubernetes.objects.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from harbor_aws.infra.local.kubernetes.control.events import EventRecorder
    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.store import Change, Object, ObjectStore
    from harbor_aws.infra.local.kubernetes.runtime import PodRuntime

_log = logging.getLogger(__name__)

FINAL_PHASES = frozenset({"Succeeded", "Failed"})
_DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class Kubelet:
    """Starts a pod when it is stored, stops it when it is deleted or its deadline passes."""

    def __init__(self, store: ObjectStore, runtime: PodRuntime, events: EventRecorder) -> None:
        self._store = store
        self._runtime = runtime
        self._events = events
        self._names: dict[str, tuple[str, str]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._overdue: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        store.listen(self._changed)

    def delete(self, pod: Object, grace_seconds: int | None) -> Object:
        """Begin to end a pod; returns it as it is from now on, or as it last was if it is gone at once.

        Args:
            grace_seconds: between TERM and KILL; ``None`` means the pod's own. 0 removes the object at once.
        """
        metadata = pod["metadata"]
        grace = pod["spec"]["terminationGracePeriodSeconds"] if grace_seconds is None else max(0, grace_seconds)
        if grace == 0 or pod["status"].get("phase") in FINAL_PHASES:
            self._spawn(self._stop(metadata["uid"], grace))
            return self._store.remove(PODS, metadata["namespace"], metadata["name"]).item
        if metadata.get("deletionGracePeriodSeconds", grace + 1) <= grace:
            return pod
        marked = {"deletionTimestamp": timestamp(time.time() + grace), "deletionGracePeriodSeconds": grace}
        stored = self._store.replace(PODS, {**pod, "metadata": {**metadata, **marked}})
        for container in pod["spec"]["containers"]:
            self._record(pod, "Killing", f"Stopping container {container['name']}", container["name"])
        self._spawn(self._terminate(metadata["uid"], grace))
        return stored.item

    async def close(self) -> None:
        """Stop every pod."""
        for handle in self._deadlines.values():
            handle.cancel()
        await self._runtime.close()
        for task in (*self._tasks, *self._starting.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._starting.values(), return_exceptions=True)

    def report(self, uid: str, status: dict[str, Any]) -> None:
        """Take a pod's new status from the runtime."""
        pod = self._pod(uid)
        if pod is None:
            return
        old = pod["status"]
        if old.get("phase") in FINAL_PHASES and status.get("phase") not in FINAL_PHASES:
            return
        new = {**scheduled_status(pod["spec"], old.get("startTime") or timestamp()), **status}
        if not any(one.get("type") == "PodScheduled" for one in new.get("conditions") or ()):
            scheduled = [one for one in old.get("conditions") or () if one["type"] == "PodScheduled"]
            new["conditions"] = [*(new.get("conditions") or ()), *scheduled]
        if uid in self._overdue and status.get("phase") in FINAL_PHASES:
            new |= {"phase": "Failed", "reason": "DeadlineExceeded", "message": _DEADLINE_MESSAGE}
        self._store.replace(PODS, {**pod, "status": new})
        for event in pod_events(old, new):
            self._record(pod, event.reason, event.message, event.container, warning=event.warning)

    def _changed(self, resource: Resource, change: Change) -> None:
        if resource is not PODS:
            return
        pod = change.new.item
        uid = pod["metadata"]["uid"]
        if change.type == "ADDED":
            self._names[uid] = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            self._starting[uid] = asyncio.create_task(self._start(pod), name=f"start pod {pod['metadata']['name']}")
        elif change.type == "DELETED":
            self._names.pop(uid, None)
        if change.type == "DELETED" or pod["status"].get("phase") in FINAL_PHASES:
            self._overdue.discard(uid)
            if handle := self._deadlines.pop(uid, None):
                handle.cancel()
        elif change.old is None or _deadline(pod) != _deadline(change.old.item):
            self._set_deadline(pod)

    async def _start(self, pod: Object) -> None:
        uid, name = pod["metadata"]["uid"], f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self._record(
            pod,
            "Scheduled",
            f"Successfully assigned {name} to {pod['spec']['nodeName']}",
            component="default-scheduler",
        )
        try:
            await self._runtime.start(pod, self.report)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the pod that failed
            _log.exception("Pod %s could not be started.", name, extra={"action": "start_pod", "pod": name})
            self.report(uid, {"phase": "Failed", "reason": "StartError", "message": str(error)})
            self._record(pod, "Failed", f"Error: {error}", warning=True)
        finally:
            self._starting.pop(uid, None)

    async def _stop(self, uid: str, grace_seconds: float) -> None:
        if starting := self._starting.get(uid):
            await asyncio.wait([starting])
        try:
            await self._runtime.stop(uid, grace_seconds=grace_seconds)
        except Exception:  # noqa: BLE001 - nobody waits for it; the pod is forgotten all the same
            _log.exception("Pod %s could not be stopped cleanly.", uid, extra={"action": "stop_pod", "pod": uid})

    async def _terminate(self, uid: str, grace_seconds: float) -> None:
        await self._stop(uid, grace_seconds)
        if pod := self._pod(uid):
            self._store.remove(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _set_deadline(self, pod: Object) -> None:
        uid, seconds = pod["metadata"]["uid"], _deadline(pod)
        if handle := self._deadlines.pop(uid, None):
            handle.cancel()
        if seconds is not None:
            loop = asyncio.get_running_loop()
            left = max(0.0, parse_timestamp(pod["status"]["startTime"]) + seconds - time.time())
            self._deadlines[uid] = loop.call_later(left, lambda: self._spawn(self._exceed(uid)))

    async def _exceed(self, uid: str) -> None:
        pod = self._pod(uid)
        if pod is None:
            return
        self._overdue.add(uid)
        self._record(pod, "DeadlineExceeded", _DEADLINE_MESSAGE, warning=True)
        await self._stop(uid, pod["spec"]["terminationGracePeriodSeconds"])
        if (pod := self._pod(uid)) and pod["status"].get("phase") not in FINAL_PHASES:
            self._overdue.add(uid)
            self.report(uid, _ended(pod["status"]))

    def _pod(self, uid: str) -> Object | None:
        name = self._names.get(uid)
        stored = self._store.find(PODS, *name) if name else None
        return stored.item if stored else None

    def _record(
        self,
        pod: Object,
        reason: str,
        message: str,
        container: str = "",
        *,
        component: str = "kubelet",
        warning: bool = False,
    ) -> None:
        path = f"spec.containers{{{container}}}" if container else ""
        self._events.record(pod, reason, message, component=component, field_path=path, warning=warning)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _deadline(pod: Object) -> int | None:
    seconds: int | None = pod["spec"].get("activeDeadlineSeconds")
    return seconds


def _ended(status: dict[str, Any]) -> dict[str, Any]:
    """A status whose containers no longer run."""
    now = timestamp()
    containers = [
        one
        if "terminated" in (one.get("state") or {})
        else {
            **one,
            "ready": False,
            "started": False,
            "state": {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": now}},
        }
        for one in status.get("containerStatuses") or ()
    ]
    conditions = [
        {**one, "status": "False", "lastTransitionTime": now} if one["type"] in {"Ready", "ContainersReady"} else one
        for one in status.get("conditions") or ()
    ]
    return {**status, "phase": "Failed", "containerStatuses": containers, "conditions": conditions}
