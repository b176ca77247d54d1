"""What a pod's object says."""

from __future__ import annotations

from typing import Any

import pytest

from harbor_aws.worker.pod_status import Reason, end_of, is_running, waiting_reason

Json = dict[str, Any]


def pod(phase: str, state: Json | None = None, *, deleted: bool = False, **status: Any) -> Json:
    metadata: Json = {"name": "p", "uid": "u"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    statuses = [{"name": "main", "state": state}] if state else []
    return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": statuses, **status}}


RUNNING = pod("Running", {"running": {}})
PENDING = pod("Pending")


def restarted(count: int) -> Json:
    """A container that runs, for the ``count + 1``-th time."""
    found = pod("Running", {"running": {}})
    found["status"]["containerStatuses"][0] |= {
        "restartCount": count,
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}} if count else {},
    }
    return found


def test_running_needs_phase_and_container() -> None:
    """A pod runs commands once its container runs, and not before."""
    assert is_running(RUNNING)
    assert not is_running(PENDING)
    assert not is_running(pod("Running", {"waiting": {"reason": "CrashLoopBackOff"}}))
    assert not is_running({"metadata": {}})


@pytest.mark.parametrize(
    ("found", "word", "gone"),
    [
        (pod("Failed", {"terminated": {"reason": "OOMKilled", "exitCode": 137}}), "OOMKilled", False),
        (pod("Failed", reason="Evicted", message="low on disk"), "Evicted", False),
        (
            pod("Failed", {"terminated": {"reason": "Error", "exitCode": 1}}, reason="DeadlineExceeded"),
            "DeadlineExceeded",
            False,
        ),
        (pod("Succeeded", {"terminated": {"exitCode": 0}}), "Succeeded", False),
        (pod("Running", {"terminated": {"reason": "OOMKilled", "exitCode": 137}}), "OOMKilled", False),
        (pod("Running", {"running": {}}, deleted=True), "Deleted", True),
        (pod("Failed", {"terminated": {"reason": "Error", "exitCode": 1}}, deleted=True), "Error", False),
        (restarted(1), "Restarted", False),
    ],
)
def test_ends(found: Json, word: str, gone: bool) -> None:
    """A pod's end has Kubernetes' own word, the pod's before the container's."""
    end = end_of(found)
    assert end is not None
    assert (end.reason.word, end.gone) == (word, gone)


@pytest.mark.parametrize("found", [RUNNING, PENDING, {"metadata": {}}, restarted(0)])
def test_a_pod_that_has_not_ended(found: Json) -> None:
    """A pod that waits or runs has not ended."""
    assert end_of(found) is None


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (PENDING, None),
        (RUNNING, None),
        (pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "no"}}), Reason("ErrImagePull", "no")),
        (
            pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
            Reason("Unschedulable", ""),
        ),
        (pod("Pending", conditions=[{"type": "PodScheduled", "status": "True"}]), None),
    ],
)
def test_why_a_pod_waits(found: Json, reason: Reason | None) -> None:
    """What holds a pod up is the container's reason, or the scheduler's."""
    assert waiting_reason(found) == reason
