"""Whose doing it is that a pod does not start, or ends, as tables of what clusters say."""

from __future__ import annotations

from typing import Any

import pytest

from harbor_aws.infra.errors import (
    CapacityError,
    EvictedError,
    NoNodeError,
    NotPlaceableError,
    OutOfMemoryError,
    PermanentError,
    PodDeadlineError,
    PodError,
    PodFailedError,
    PodGoneError,
    PodStartError,
    StorageExceededError,
)
from harbor_aws.producer.dead_letters.pod_end import PodEvent
from harbor_aws.worker.pod_failure import end_error, ended_before_start, loss_error, start_error
from harbor_aws.worker.pod_status import Reason, end_of

Json = dict[str, Any]

EVICTION = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting"}  # fmt: skip
BY_KUBELET = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
BY_GC = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
         "message": "PodGC: node no longer exists"}  # fmt: skip


def pod(
    phase: str, *, node: str | None = None, deleted: bool = False, limits: Json | None = None, **status: Any
) -> Json:
    metadata = {"name": "p", "uid": "u"} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    spec: Json = {"containers": [{"name": "main", "resources": {"limits": limits or {}}}]}
    return {"metadata": metadata, "spec": spec | ({"nodeName": node} if node else {}),
            "status": {"phase": phase, **status}}  # fmt: skip


def unscheduled(message: str, *, reason: str = "Unschedulable") -> Json:
    return pod(
        "Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]
    )


def container(**state: Json) -> list[Json]:
    return [{"name": "main", "state": state}]


REFUSALS = [
    # aws/containers-roadmap#2034; https://repost.aws/knowledge-center/eks-resolve-pending-fargate-pods
    ("Fargate capacity is unavailable at this time.", "another CPU and memory"),
    (
        "Fargate capacity is unavailable at this time. Please try again later or in a different availability zone.",
        "another CPU and memory",
    ),
    # terraform-aws-modules/terraform-aws-eks#1758
    ("Your AWS account has reached the limit on the number of Fargate pods it can run concurrently", "L-3032A538"),
    # ECS's, of the same quota: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
    ("You've reached the limit on the number of vCPUs you can run concurrently", "L-3032A538"),
    # no report of this one was found: it was told to us
    ("Your AWS account is limited to 6 Fargate vCPUs", "L-3032A538"),
    # ECS's RunTask, of the rate of https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html
    ("Rate exceeded", "--launches-per-second"),
    ("Fargate launch rate was throttled", "--launches-per-second"),
    # kube-scheduler's own
    ("0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available", "nodes are full"),
    ("0/13 nodes are available: 1 Too many pods, 12 node is filtered out", "nodes are full"),
]


@pytest.mark.parametrize(("message", "advice"), REFUSALS)
def test_no_room_is_told_by_what_a_scheduler_says(message: str, advice: str) -> None:
    """In the pod's condition or in an event, and the error says what to do."""
    event = PodEvent(reason="FailedScheduling", message=message, count=3)
    for found in (
        start_error("p", unscheduled(message), after_seconds=120),
        start_error("p", pod("Pending"), [event], after_seconds=120),
    ):
        assert type(found) is CapacityError
        assert message.rstrip(".") in str(found)
        assert advice in str(found)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        # aws/eks-distro-prow-jobs#11, a condition with the reason POD_CPU_MEM_EXCEEDS_MAX_FARGATE_SIZE
        ("Your pod's cpu/memory requirements exceed the max Fargate configuration", NotPlaceableError),
        ("Pod not supported on Fargate: volumes not supported: data", NotPlaceableError),
        # aws/containers-roadmap#1890
        ("Pod provisioning timed out (will retry) for pod: ns/p", NoNodeError),
        # awsdocs/amazon-eks-user-guide#262: another subnet may do
        ("Fargate is not supported in the requested availability zone: ca-central-1d", PodStartError),
        # aws-ia/terraform-aws-eks-blueprints#568: there was no profile for it
        ("1 node(s) had taint {eks.amazonaws.com/compute-type: fargate}, that the pod didn't tolerate", PodStartError),
        ("no nodes available to schedule pods", PodStartError),
    ],
)
def test_other_words_of_a_scheduler_are_something_else(message: str, kind: type[PodError]) -> None:
    """What no room helps with is not waited for."""
    found = start_error("p", unscheduled(message), after_seconds=600)
    assert type(found) is kind
    assert message in str(found)


@pytest.mark.parametrize(
    ("found", "kind", "word"),
    [
        (pod("Pending"), NoNodeError, "Pending"),
        (pod("Pending", node="fargate-1"), PodStartError, "Pending"),
        (
            pod(
                "Pending",
                node="n",
                containerStatuses=container(waiting={"reason": "CreateContainerError", "message": "Rate exceeded"}),
            ),
            PodStartError,
            "CreateContainerError",
        ),
    ],
)
def test_a_pod_that_nobody_speaks_of(found: Json, kind: type[PodError], word: str) -> None:
    """Without a node it waits for one; with one it waits for its image, whatever else is said of rates."""
    error = start_error(
        "p", found, [PodEvent(reason="LoggingDisabled", message="Rate exceeded", count=1)], after_seconds=600
    )
    assert (type(error), error.reason) == (kind, word)


ENDS = [
    (pod("Running", deleted=True), PodGoneError, "Deleted"),
    (pod("Running", deleted=True, conditions=[{**EVICTION, "status": "False"}]), PodGoneError, "Deleted"),
    (pod("Running", deleted=True, conditions=[EVICTION]), EvictedError, "EvictionByEvictionAPI"),
    (pod("Running", deleted=True, conditions=[BY_GC]), EvictedError, "DeletionByPodGC"),
    (
        pod("Succeeded", deleted=True, conditions=[EVICTION], containerStatuses=container(terminated={"exitCode": 0})),
        EvictedError,
        "EvictionByEvictionAPI",
    ),
    (
        pod(
            "Failed",
            reason="Terminated",
            message="Pod was terminated in response to imminent node shutdown.",
            conditions=[BY_KUBELET],
        ),
        EvictedError,
        "TerminationByKubelet",
    ),
    (
        pod("Failed", reason="NodeShutdown", message="Pod was rejected as the node is shutting down."),
        EvictedError,
        "NodeShutdown",
    ),
    (pod("Failed", reason="Evicted", message="The node was low on resource: pids. "), EvictedError, "Evicted"),
    (
        pod("Failed", containerStatuses=container(terminated={"reason": "OOMKilled", "exitCode": 137})),
        OutOfMemoryError,
        "OOMKilled",
    ),
    (
        pod(
            "Failed",
            reason="Evicted",
            message="The node was low on resource: memory. Threshold quantity: 100Mi",
            conditions=[BY_KUBELET],
        ),
        OutOfMemoryError,
        "Evicted",
    ),
    (
        pod(
            "Failed",
            deleted=True,
            conditions=[EVICTION],
            containerStatuses=container(terminated={"reason": "OOMKilled", "exitCode": 137}),
        ),
        OutOfMemoryError,
        "OOMKilled",
    ),
    (
        pod(
            "Failed",
            reason="Evicted",
            message="Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. ",
        ),
        StorageExceededError,
        "Evicted",
    ),
    (
        pod("Failed", reason="Evicted", message='Container main exceeded its local ephemeral storage limit "1Gi". '),
        StorageExceededError,
        "Evicted",
    ),
    (
        pod(
            "Failed",
            reason="Evicted",
            message="The node was low on resource: ephemeral-storage. Container main was using 19Gi",
            conditions=[BY_KUBELET],
        ),
        StorageExceededError,
        "Evicted",
    ),
    (
        pod("Failed", reason="Evicted", message='Usage of EmptyDir volume "v" exceeds the limit "1Gi". '),
        StorageExceededError,
        "Evicted",
    ),
    (
        pod(
            "Failed", reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline"
        ),
        PodDeadlineError,
        "DeadlineExceeded",
    ),
    (
        pod("Failed", containerStatuses=container(terminated={"reason": "Error", "exitCode": 137})),
        PodFailedError,
        "Error",
    ),
    (
        pod(
            "Failed",
            containerStatuses=container(
                terminated={"reason": "Error", "exitCode": 1, "message": "The node was low on resource: memory"}
            ),
        ),
        PodFailedError,
        "Error",
    ),
]


@pytest.mark.parametrize(("found", "kind", "word"), ENDS)
def test_whose_doing_an_end_was(found: Json, kind: type[PodError], word: str) -> None:
    """The cluster's, the task's own, somebody's who deletes; not what a process writes of it."""
    end = end_of(found)
    assert end is not None
    error = end_error("p", found, end)
    assert (type(error), error.reason) == (kind, word)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            pod("Failed", limits={"memory": "512Mi"}, containerStatuses=container(terminated={"reason": "OOMKilled"})),
            ("512Mi", "--override-memory-mb", "memory_mb", "--right-size"),
        ),
        (
            pod("Failed", limits={"ephemeral-storage": "30Gi"}, reason="Evicted",
                message="Pod ephemeral local storage usage exceeds the total limit of containers 30Gi. "),
            ("30Gi", "--override-storage-mb", "storage_mb"),
        ),
        (pod("Failed", reason="DeadlineExceeded"), ("HARBOR_AWS_POD_DEADLINE_SECONDS",)),
    ],
)  # fmt: skip
def test_an_end_says_what_to_do(found: Json, words: tuple[str, ...]) -> None:
    """With the limit that was too low."""
    end = end_of(found)
    assert end is not None
    assert [word for word in words if word not in str(end_error("p", found, end))] == []


def test_a_pods_deadline_is_final() -> None:
    """As is that of an attempt: the next one would take as long."""
    assert issubclass(PodDeadlineError, PermanentError)
    assert issubclass(NotPlaceableError, PermanentError)


def test_a_pod_that_went_unseen_was_evicted_if_that_had_begun() -> None:
    """The watch may break between the condition and the end."""
    lost = Reason("Deleted", "it was missing when the watch was taken up again")
    assert type(loss_error("p", pod("Running", conditions=[EVICTION]), lost)) is EvictedError
    assert type(loss_error("p", pod("Running"), lost)) is PodGoneError
    assert type(loss_error("p", {"metadata": {}}, lost)) is PodGoneError


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (PodFailedError("x", pod="p", reason="OutOfcpu"), CapacityError),
        (PodFailedError("x", pod="p", reason="Error"), PodStartError),
        (OutOfMemoryError("x", pod="p", reason="OOMKilled"), OutOfMemoryError),
        (EvictedError("x", pod="p", reason="EvictionByEvictionAPI"), EvictedError),
        (PodGoneError("x", pod="p", reason="Deleted"), PodGoneError),
    ],
)
def test_a_pod_that_is_over_before_it_ran(before: PodError, kind: type[PodError]) -> None:
    """It did not start, unless what ended it says more; a kubelet without room refuses what was assigned to it."""
    assert type(ended_before_start(before)) is kind
