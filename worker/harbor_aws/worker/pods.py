"""This process's pods: made, watched by one watch, deleted."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from harbor_aws.infra.cluster import Cluster, ObjectConflictError, ObjectNotFoundError, QuotaExceededError
from harbor_aws.infra.errors import CapacityError, InfrastructureError, PodError, PullRateError, TransientError
from harbor_aws.infra.labels import PREFIX
from harbor_aws.worker.image_builds import ImageBuilds
from harbor_aws.worker.launch_rate import Launches
from harbor_aws.worker.pod import Pod, not_started
from harbor_aws.worker.pod_failure import ended_before_start
from harbor_aws.worker.pod_removal import PodRemoval, delete_pod
from harbor_aws.worker.pod_report import last_events, pod_report, with_events
from harbor_aws.worker.pod_spec import owner_selector, pod_manifest
from harbor_aws.worker.pod_status import Reason, is_running, waiting_reason
from harbor_aws.worker.pod_watch import PodWatch
from harbor_aws.worker.scheduling import QUOTA_ADVICE, scheduling_hold_up
from harbor_aws.worker.start_patience import StartPatience, is_silent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from harbor_aws.infra.stack import KubernetesAccess
    from harbor_aws.producer.dead_letters.pod_end import PodEnd, PodEvent
    from harbor_aws.worker.pod_spec import PodRequest

logger = logging.getLogger(__name__)

Json = dict[str, Any]

IMAGE_PATIENCE_SECONDS = 120.0
"""How long a container may fail to be made, by an image that cannot be pulled for instance, before that is final."""

CAPACITY_PATIENCE_SECONDS = 120.0
"""How long a pod for which there is no room is waited for, before its trial waits in the queue. Fargate's scheduler
tries again about once a minute, if it does: "x301 over 5h3m" in
https://repost.aws/knowledge-center/eks-resolve-pending-fargate-pods, never in aws/containers-roadmap#2654."""

SLOW_START_SECONDS = 180.0
"""After which a pod that does not run is spoken of. Fargate takes a minute, and its image as long again."""

SLOW_START = "does not run after"
"""Words of that line alone: the alarm for pods that stay Pending counts the lines that have them."""

_CREATION = f"{PREFIX}creation"

_EVENTS_SECONDS = 5.0
"""How long to ask for a pod's events: they only explain."""


class PodKeeper:
    """All pods of this process: one connection pool, and one watch. Belongs to one event loop; see :meth:`open`.

    Attributes:
        cluster: the door to the cluster, for exec and transfers.
        worker: this process's name, in its pods' labels.
        images: the images that this process had built.
        launches: whose turn it is to launch a pod; :meth:`create` itself waits for none.
    """

    def __init__(self, cluster: Cluster, *, worker: str, launches: Launches) -> None:
        self.cluster = cluster
        self.worker = worker
        self.images = ImageBuilds()
        self.launches = launches
        self._pods: dict[str, Pod] = {}
        self._watch = PodWatch(cluster, worker=worker, pods=self._pods)
        self._removal = PodRemoval(cluster)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, access: KubernetesAccess, *, worker: str, launches: Launches | None = None
    ) -> AsyncIterator[Self]:
        """Watch for the length of an ``async with``. Pods that are not deleted by then stay.

        Args:
            launches: whose turn it is to launch a pod; by default everybody's.

        Raises:
            UsageError: the kubeconfig cannot be used.
            TransientError: the cluster does not answer.
            PermanentError, AccessRefusedError: the cluster refuses.
        """
        async with Cluster.open(access) as cluster:
            keeper = cls(cluster, worker=worker, launches=launches or Launches())
            version = await keeper._watch.catch_up()
            tasks = [
                asyncio.create_task(keeper._watch.follow(version), name="harbor-aws pod watch"),
                asyncio.create_task(keeper._removal.run(), name="harbor-aws pod removal"),
            ]
            try:
                yield keeper
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if keeper._removal.names:
                    logger.warning(
                        "Pods that may be left until their deadline: %s",
                        ", ".join(keeper._removal.names),
                        extra={"action": "delete_pod"},
                    )

    async def create(self, request: PodRequest) -> Pod:
        """Create a pod, without waiting for it. A create whose answer was lost finds its own pod.

        A pod whose create was given up on its way is deleted should it still appear.

        Raises:
            CapacityError: the namespace's quota is used up.
            TransientError: the cluster does not answer, or does not know what is in the way.
            PermanentError: the cluster refuses the pod.
            AccessRefusedError: the cluster refuses to let this worker make a pod.
        """
        token = secrets.token_hex(8)
        manifest = pod_manifest(request)
        manifest["metadata"]["annotations"][_CREATION] = token
        name = manifest["metadata"]["name"]
        self._removal.forget(name)
        pod = self._pods[name] = Pod(name)
        try:
            try:
                created = await self._post(manifest)
            except ObjectConflictError:
                created = await self._in_the_way(name) or await self._post_again(manifest)
                if created["metadata"].get("annotations", {}).get(_CREATION) != token:
                    raise
        except BaseException as error:
            self._pods.pop(name, None)
            if isinstance(error, QuotaExceededError):
                self.launches.given_up(launched_at=pod.launched_at)
                raise CapacityError(f"{error} {QUOTA_ADVICE}", pod=name, reason="QuotaExceeded") from error
            if isinstance(error, TransientError | asyncio.CancelledError):
                self._removal.expect(name)
            raise
        pod.see(created)
        return pod

    async def wait_until_running(
        self,
        pod: Pod,
        *,
        timeout_seconds: float,
        image_patience_seconds: float = IMAGE_PATIENCE_SECONDS,
        capacity_patience_seconds: float = CAPACITY_PATIENCE_SECONDS,
    ) -> None:
        """Wait until commands can be run in it.

        Raises:
            CapacityError: there is no room for it.
            PodStartError: it ended before, or cannot start, or did not in time.
            PodGoneError: it was deleted meanwhile.
        """
        slow = asyncio.get_running_loop().call_later(SLOW_START_SECONDS, _speak_of_slow_start, pod, SLOW_START_SECONDS)
        patience = StartPatience(
            began_at=asyncio.get_running_loop().time(),
            start_seconds=timeout_seconds,
            image_seconds=image_patience_seconds,
            capacity_seconds=capacity_patience_seconds,
        )
        try:
            await self._until_running(pod, patience)
        finally:
            slow.cancel()

    async def _until_running(self, pod: Pod, patience: StartPatience) -> None:
        clock = asyncio.get_running_loop().time
        events: tuple[PodEvent, ...] | None = None
        while not is_running(pod.object) or pod.is_over:
            if pod.is_over:
                raise await self._start_error(pod, await pod.end())
            if events is None and is_silent(pod.object) and clock() >= patience.events_are_due_at:
                events = await self._events(pod)
            until = patience.ends_at(pod.object, events or (), now=clock())
            if patience.is_refused:
                self.launches.refused()
            if clock() >= until:
                raise await self._not_started(pod, after_seconds=clock() - patience.began_at)
            if events is None and is_silent(pod.object):
                until = min(until, patience.events_are_due_at)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await pod.change()
        self.launches.admitted(since=clock() if patience.was_refused else pod.launched_at)

    async def _not_started(self, pod: Pod, *, after_seconds: float) -> PodError:
        await self._ask_for_events(pod)
        error = not_started(pod, after_seconds=after_seconds)
        if isinstance(error, CapacityError) and not isinstance(error, PullRateError):  # that is one registry's alone
            self.launches.given_up(launched_at=pod.launched_at)
            if after_seconds < SLOW_START_SECONDS:
                _speak_of_slow_start(pod, after_seconds)
        return _with_events(pod, error)

    async def while_running[T](self, pod: Pod, work: Coroutine[Any, Any, T]) -> T:
        """Do something that needs the pod, and stop as soon as the pod is over.

        Raises:
            PodFailedError: its container ended.
            PodGoneError: it was deleted.
        """
        working = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(pod.end())
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise await self._named(pod, ending.result())
            return await working
        finally:
            ending.cancel()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def explanation(self, pod: Pod, *, within_seconds: float) -> PodError | None:
        """Why the pod is over, if that turns out within a moment: a stream is cut before the watch tells why."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                return await self._named(pod, await pod.end())
        return None

    async def last_look(self, pod: Pod) -> PodEnd:
        """All that is known of a pod that is about to be deleted."""
        await self._ask_for_events(pod)
        return pod_report(pod.name, pod.object, pod.events)

    def knows(self, name: str) -> bool:
        """Whether a pod of this name is in use here, or about to be made."""
        return name in self._pods

    async def delete(self, name: str) -> None:
        """Delete a pod by its name, and forget it. Where that fails, it is tried again in the background."""
        pod = self._pods.pop(name, None)
        is_gone = await self._removal.remove(name, uid=pod.uid if pod else None)
        if pod and is_gone:
            pod.gone_at = pod.gone_at or datetime.now(UTC)

    async def delete_leftovers(self, *, job: str, trial: str) -> list[Json]:
        """Delete the pods that earlier attempts at a trial left, whichever worker made them; as they were.

        Raises:
            TransientError: the cluster does not answer; pods may be left.
            PermanentError, AccessRefusedError: the cluster refuses; pods are left.
        """
        left = await self.cluster.list_pods(selector=owner_selector(job=job, trial=trial))
        names = [item["metadata"]["name"] for item in left["items"]]
        for item in left["items"]:
            await delete_pod(self.cluster, item["metadata"]["name"], uid=item["metadata"]["uid"])
        if names:
            logger.info(
                "Removed what earlier attempts at %s left: %s",
                trial,
                ", ".join(names),
                extra={"action": "delete_leftovers", "job": job, "trial": trial},
            )
        items: list[Json] = left["items"]
        return items

    async def _in_the_way(self, name: str) -> Json | None:
        try:
            return await self.cluster.request("GET", f"{self.cluster.pods_path}/{name}")
        except ObjectNotFoundError:  # it is gone since, or it was something else that was in the way
            return None

    async def _post_again(self, manifest: Json) -> Json:
        try:
            return await self._post(manifest)
        except ObjectConflictError as conflict:
            name = manifest["metadata"]["name"]
            raise TransientError(f"Pod {name} could not be made, and nothing has its name: {conflict}") from conflict

    async def _post(self, manifest: Json) -> Json:
        try:
            return await self.cluster.request("POST", self.cluster.pods_path, body=manifest)
        except ObjectNotFoundError:  # it is the namespace that is missing
            await self.cluster.ensure_namespace()
            return await self.cluster.request("POST", self.cluster.pods_path, body=manifest)

    async def _start_error(self, pod: Pod, error: PodError) -> PodError:
        return ended_before_start(await self._named(pod, error))

    async def _named[E: PodError](self, pod: Pod, error: E) -> E:
        """The error with the pod's last events in its message, where the cluster still has them."""
        await self._ask_for_events(pod)
        return _with_events(pod, error)

    async def _ask_for_events(self, pod: Pod) -> None:
        pod.events = pod.events or await self._events(pod)

    async def _events(self, pod: Pod) -> tuple[PodEvent, ...]:
        """None if the cluster does not answer: they only explain."""
        path = f"/api/v1/namespaces/{self.cluster.namespace}/events"
        with suppress(InfrastructureError, TimeoutError):
            async with asyncio.timeout(_EVENTS_SECONDS):
                query = {"fieldSelector": f"involvedObject.name={pod.name}"}
                answer = await self.cluster.request("GET", path, query=query, patience_seconds=2)
            return last_events(answer["items"])
        return ()


def _with_events[E: PodError](pod: Pod, error: E) -> E:
    return type(error)(with_events(str(error), pod.events), pod=error.pod, reason=error.reason)


def _speak_of_slow_start(pod: Pod, after_seconds: float) -> None:
    logger.warning(
        "Pod %s %s %.0f s: %s", pod.name, SLOW_START, after_seconds, _hold_up(pod),
        extra={"action": "start_pod", "pod": pod.name},
    )  # fmt: skip


def _hold_up(pod: Pod) -> Reason:
    known = scheduling_hold_up(pod.object, pod.events) or waiting_reason(pod.object)
    return known or Reason("Pending", "nothing is known to hold it up")
