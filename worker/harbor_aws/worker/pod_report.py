"""What a pod's object and its events tell of it, for an error's text and for a dead letter.

Pure, but for the secrets of the attempt whose pod it is: they are taken out here, for half of one is not found later.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harbor_aws.producer.dead_letters.pod_end import ContainerState, PodEnd, PodEvent
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.pod_status import Reason, end_of, last_container_state, waiting_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Json = dict[str, Any]

LAST_EVENTS = 5
"""As many are kept of a pod's events."""

MESSAGE_CHARACTERS = 500
"""Of an event's or a container's message: they travel in a message attribute, which counts toward SQS's limit."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def last_events(items: Iterable[Json]) -> tuple[PodEvent, ...]:
    """The newest :data:`LAST_EVENTS` of a pod's Event objects, the oldest first."""
    events = sorted(map(_event, items), key=lambda event: event.at or _LONG_AGO)
    return tuple(events[-LAST_EVENTS:])


def with_events(text: str, events: Sequence[PodEvent]) -> str:
    """A sentence, and what happened."""
    return f"{text} Events: {'; '.join(map(str, events))}" if events else text


def pod_report(name: str, pod: Json, events: Sequence[PodEvent]) -> PodEnd:
    """What is known of a pod.

    Args:
        pod: the newest object that was seen of it, which may have no status.
    """
    end = end_of(pod)
    known = end.reason if end else waiting_reason(pod) or Reason(pod.get("status", {}).get("phase") or "Unknown")
    reason = known._replace(message=_cut(known.message))
    return PodEnd(
        name=name,
        reason=reason.word,
        message=reason.message or None,
        said=with_events(f"Pod {name}: {reason}.", events),
        container=_container(last_container_state(pod)),
        events=tuple(events),
    )


def _container(state: Json) -> ContainerState | None:
    for word in ("terminated", "waiting", "running"):
        if word in state:
            details = state[word] or {}
            return ContainerState(
                state=word,
                reason=details.get("reason"),
                message=_cut(details.get("message") or "") or None,
                exit_code=details.get("exitCode"),
            )
    return None


def _event(item: Json) -> PodEvent:
    """Both generations of the API: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/"""
    series = item.get("series") or {}
    times = (series.get("lastObservedTime"), item.get("lastTimestamp"), item.get("eventTime"))
    return PodEvent(
        reason=item.get("reason") or "Unknown",
        message=_cut(item.get("message") or ""),
        count=series.get("count") or item.get("count") or 1,
        at=next((_time(time) for time in (*times, item.get("firstTimestamp")) if time), None),
    )


def _cut(message: str) -> str:
    attempt = current_attempt.get()
    return (attempt.scrubber.text(message) if attempt else message)[:MESSAGE_CHARACTERS]


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None
