"""What is kept of a pod's object and its events."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harbor_aws.producer.dead_letters.pod_end import ContainerState, PodEvent
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.pod_report import LAST_EVENTS, MESSAGE_CHARACTERS, last_events, pod_report
from harbor_aws.worker.scrub.scrubber import Scrubber

Json = dict[str, Any]


def pod(container: Json | None = None, **status: Any) -> Json:
    statuses = {} if container is None else {"containerStatuses": [{"name": "main", **container}]}
    return {"metadata": {"name": "p"}, "status": {**statuses, **status}}


KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
PULLING = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


@pytest.mark.parametrize(
    ("seen", "reason", "message", "container"),
    [
        (pod({"state": KILLED}, phase="Failed"), "OOMKilled", "exit code 137",
         ContainerState(state="terminated", reason="OOMKilled", exit_code=137)),
        (pod({"state": KILLED}, phase="Failed", reason="Evicted", message="low on disk"), "Evicted", "low on disk",
         ContainerState(state="terminated", reason="OOMKilled", exit_code=137)),
        (pod({"state": PULLING}, phase="Pending"), "ImagePullBackOff", "no such image",
         ContainerState(state="waiting", reason="ImagePullBackOff", message="no such image")),
        (pod({"state": {"running": {}}}, phase="Running"), "Running", None, ContainerState(state="running")),
        (pod({"state": {"running": {}}, "lastState": KILLED, "restartCount": 1}, phase="Running"), "Restarted",
         "its container ended before (OOMKilled: exit code 137)",
         ContainerState(state="terminated", reason="OOMKilled", exit_code=137)),
        (pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                           "message": "0/9 nodes"}]), "Unschedulable", "0/9 nodes", None),
        ({"metadata": {}}, "Unknown", None, None),
    ],
)  # fmt: skip
def test_a_pod_tells_its_last_state(
    seen: Json, reason: str, message: str | None, container: ContainerState | None
) -> None:
    """The pod's own word and explanation, and what its container was doing, whatever it has of them."""
    report = pod_report("p", seen, ())
    assert (report.name, report.reason, report.message, report.container) == ("p", reason, message, container)
    assert report.said.startswith(f"Pod p: {reason}")


def test_the_last_events_are_kept_in_their_order() -> None:
    """Whatever order the server has, and whichever generation of the API an event is of."""
    items: list[Json] = [
        {"reason": "Third", "message": "m", "series": {"count": 7, "lastObservedTime": "2026-11-22T10:03:00.000001Z"}},
        {"reason": "Second", "message": "m", "eventTime": "2026-11-22T10:02:00Z"},
        {"reason": "First", "message": "m", "count": 3, "lastTimestamp": "2026-11-22T10:01:00Z",
         "firstTimestamp": "2026-11-22T09:00:00Z"},
        {"reason": "Timeless", "message": None, "count": None, "lastTimestamp": None},
    ]  # fmt: skip
    events = last_events(items)
    assert [(event.reason, event.count) for event in events] == [
        ("Timeless", 1), ("First", 3), ("Second", 1), ("Third", 7)
    ]  # fmt: skip
    assert events[1].at == datetime(2026, 11, 22, 10, 1, tzinfo=UTC)
    assert events[0] == PodEvent(reason="Timeless")


def test_no_part_of_a_secret_is_kept() -> None:
    """Where a message is cut in the midst of one: it is taken out before."""
    attempt = cast("Attempt", SimpleNamespace(scrubber=Scrubber({"KEY": "sk-0123456789"})))
    text = "x" * (MESSAGE_CHARACTERS - 6) + "sk-0123456789"
    token = current_attempt.set(attempt)
    try:
        events = last_events([{"message": text}])
        report = pod_report("p", pod({"state": {"waiting": {"reason": "Error", "message": text}}}), events)
    finally:
        current_attempt.reset(token)
    assert report.container is not None
    for message in (events[0].message, report.message, report.container.message):
        assert message == "x" * (MESSAGE_CHARACTERS - 6) + "[KEY]"


def test_what_is_kept_is_bounded() -> None:
    """It travels in a message attribute."""
    events = last_events([{"reason": str(number), "message": "x" * 10_000} for number in range(100)])
    report = pod_report("p", pod({"state": {"waiting": {"message": "y" * 10_000}}}), events)
    assert len(report.events) == LAST_EVENTS
    assert {len(event.message) for event in report.events} == {MESSAGE_CHARACTERS}
    assert report.container is not None
    assert len(report.container.message or "") == MESSAGE_CHARACTERS
