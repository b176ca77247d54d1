"""This process's pods: made, watched by one watch, deleted."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from harbor_aws.infra.cluster import Cluster, ObjectConflictError, ObjectNotFoundError
from harbor_aws.infra.errors import (
    InfrastructureError,
    PodError,
    PodFailedError,
    PodGoneError,
    PodStartError,
    TransientError,
)
from harbor_aws.infra.labels import PREFIX
from harbor_aws.worker.image_builds import ImageBuilds
from harbor_aws.worker.launch_rate import Launches
from harbor_aws.worker.pod_removal import PodRemoval, delete_pod
from harbor_aws.worker.pod_report import last_events, pod_report, with_events
from harbor_aws.worker.pod_spec import owner_selector, pod_manifest
from harbor_aws.worker.pod_status import DOUBTFUL_REASONS, HOPELESS_REASONS, Reason, end_of, is_running, waiting_reason
from harbor_aws.worker.pod_watch import PodWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from harbor_aws.infra.stack import KubernetesAccess
    from harbor_aws.producer.dead_letters.pod_end import PodEnd, PodEvent
    from harbor_aws.worker.pod_spec import PodRequest

logger = logging.getLogger(__name__)

Json = dict[str, Any]

IMAGE_PATIENCE_SECONDS = 120.0
"""How long a container may fail to be made, by an image that cannot be pulled for instance, before that is final."""

SLOW_START_SECONDS = 180.0
"""After which a pod that does not run is spoken of. Fargate takes a minute, and its image as long again."""

SLOW_START = "does not run after"
"""Words of that line alone: the alarm for pods that stay Pending counts the lines that have them."""

_CREATION = f"{PREFIX}creation"

_EVENTS_SECONDS = 5.0
"""How long to ask for a pod's events: they only explain."""


class Pod:
    """A pod of ours, kept up to date by the keeper's watch.

    Attributes:
        name: its name.
        uid: what tells it from another pod of its name.
        events: its last events, once they were asked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid: str | None = None
        self.events: tuple[PodEvent, ...] = ()
        self._object: Json | None = None
        self._changed = asyncio.Event()
        self._ended: asyncio.Future[PodError] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether it has ended or was deleted."""
        return self._ended.done()

    @property
    def ending(self) -> PodError | None:
        """Why it is over, or ``None`` if it is not."""
        return self._ended.result() if self._ended.done() else None

    @property
    def object(self) -> Json:
        """The newest object that is known."""
        return self._object or {"metadata": {}}

    def see(self, pod: Json) -> None:
        """Take in a newer object of this name."""
        uid = pod["metadata"]["uid"]
        if self.uid is not None and uid != self.uid:
            self.lose(Reason("Replaced", f"another pod ({uid}) has its name"))
            return
        if self.uid is not None and self._object is not None and _version(pod) < _version(self._object):
            return
        self.uid, self._object = uid, pod
        end = end_of(pod)
        if end is not None:
            kind = PodGoneError if end.gone else PodFailedError
            self._end(kind(f"Pod {self.name} ended: {end.reason}", pod=self.name, reason=end.reason.word))
        self._tell()

    def lose(self, reason: Reason) -> None:
        """It does not exist any more."""
        self._end(PodGoneError(f"Pod {self.name} is gone: {reason}", pod=self.name, reason=reason.word))
        self._tell()

    async def change(self) -> None:
        """Wait until something is new about it."""
        await self._changed.wait()

    async def end(self) -> PodError:
        """Wait until it is over; why it is."""
        return await asyncio.shield(self._ended)

    def _end(self, error: PodError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


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
            TransientError: the cluster does not answer, or the namespace's quota is used up.
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
                created = await self.cluster.request("GET", f"{self.cluster.pods_path}/{name}")
                if created["metadata"].get("annotations", {}).get(_CREATION) != token:
                    raise
        except BaseException as error:
            self._pods.pop(name, None)
            if isinstance(error, TransientError | asyncio.CancelledError):
                self._removal.expect(name)
            raise
        pod.see(created)
        return pod

    async def wait_until_running(
        self, pod: Pod, *, timeout_seconds: float, image_patience_seconds: float = IMAGE_PATIENCE_SECONDS
    ) -> None:
        """Wait until commands can be run in it.

        Raises:
            PodStartError: it ended before, or cannot start, or did not in time.
            PodGoneError: it was deleted meanwhile.
        """
        slow = asyncio.get_running_loop().call_later(SLOW_START_SECONDS, _speak_of_slow_start, pod)
        try:
            await self._until_running(pod, timeout_seconds, image_patience_seconds)
        finally:
            slow.cancel()

    async def _until_running(self, pod: Pod, timeout_seconds: float, image_patience_seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        doubtful_since: float | None = None
        while not is_running(pod.object) or pod.is_over:
            if pod.is_over:
                raise await self._start_error(pod, await pod.end())
            reason = _hold_up(pod)
            if reason.word not in DOUBTFUL_REASONS:
                doubtful_since = None
            elif doubtful_since is None:
                doubtful_since = clock()
            until = deadline if doubtful_since is None else min(deadline, doubtful_since + image_patience_seconds)
            if reason.word in HOPELESS_REASONS or clock() >= until:
                raise await self._named(pod, not_started(pod, after_seconds=timeout_seconds - (deadline - clock())))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await pod.change()

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
        await self._removal.remove(name, uid=pod.uid if pod else None)

    async def delete_leftovers(self, *, job: str, trial: str) -> list[str]:
        """Delete the pods that earlier attempts at a trial left, whichever worker made them; their names.

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
        return names

    async def _post(self, manifest: Json) -> Json:
        try:
            return await self.cluster.request("POST", self.cluster.pods_path, body=manifest)
        except ObjectNotFoundError:  # it is the namespace that is missing
            await self.cluster.ensure_namespace()
            return await self.cluster.request("POST", self.cluster.pods_path, body=manifest)

    async def _start_error(self, pod: Pod, error: PodError) -> PodError:
        named = await self._named(pod, error)
        if isinstance(error, PodGoneError):
            return named
        return PodStartError(str(named), pod=pod.name, reason=error.reason)

    async def _named[E: PodError](self, pod: Pod, error: E) -> E:
        """The error with the pod's last events in its message, where the cluster still has them."""
        await self._ask_for_events(pod)
        return type(error)(with_events(str(error), pod.events), pod=error.pod, reason=error.reason)

    async def _ask_for_events(self, pod: Pod) -> None:
        if pod.events:
            return
        path = f"/api/v1/namespaces/{self.cluster.namespace}/events"
        with suppress(InfrastructureError, TimeoutError):
            async with asyncio.timeout(_EVENTS_SECONDS):
                query = {"fieldSelector": f"involvedObject.name={pod.name}"}
                answer = await self.cluster.request("GET", path, query=query, patience_seconds=2)
            pod.events = last_events(answer["items"])


def _version(pod: Json) -> int:
    """Order of two objects of one pod. Opaque by contract, a growing number in every server there is."""
    return int(pod["metadata"]["resourceVersion"])


def not_started(pod: Pod, *, after_seconds: float) -> PodStartError:
    """The error for a pod that does not run yet, with what is known now of the reason."""
    if pod.ending is not None:
        return PodStartError(str(pod.ending), pod=pod.name, reason=pod.ending.reason)
    reason = _hold_up(pod)
    return PodStartError(
        f"Pod {pod.name} did not start within {after_seconds:.0f} s: {reason}.", pod=pod.name, reason=reason.word
    )


def _speak_of_slow_start(pod: Pod) -> None:
    logger.warning(
        "Pod %s %s %.0f s: %s", pod.name, SLOW_START, SLOW_START_SECONDS, _hold_up(pod),
        extra={"action": "start_pod", "pod": pod.name},
    )  # fmt: skip


def _hold_up(pod: Pod) -> Reason:
    return waiting_reason(pod.object) or Reason("Pending", "nothing is known to hold it up")
