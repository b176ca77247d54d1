"""What a scheduler says of a pod without a node, and whether that is for want of room. Pure.

Fargate's own texts are documented nowhere as a list. They are from AWS's knowledge center and from what people
reported; read on 2026-11-23, each named at its pattern. Anything else that a scheduler says is nobody's known fault,
and is charged as before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.fargate import VCPUS_QUOTA
from harbor_aws.worker.pod_status import Reason, scheduling_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.producer.dead_letters.pod_end import PodEvent

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shortage:
    """A kind of refusal for want of room."""

    pattern: re.Pattern[str]
    """Found in what a scheduler says, in whatever case."""
    advice: str


def _shortage(pattern: str, advice: str) -> Shortage:
    return Shortage(re.compile(pattern, re.IGNORECASE), advice)


SHORTAGES = (
    # https://repost.aws/knowledge-center/eks-resolve-pending-fargate-pods, aws/containers-roadmap#2034
    _shortage(
        r"capacity is unavailable",
        "Fargate itself has no room for this size now, which passes; another CPU and memory may be had sooner.",
    ),
    # terraform-aws-modules/terraform-aws-eks#1758 has it of pods; quotas are of vCPUs since 2022. ECS says both so:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
    _shortage(
        r"(reached|exceeds?|exceeded) the (limit|maximum|quota)|\bis (currently )?limited to\b|limit ?exceeded",
        f"The account's Fargate vCPUs are in use: raise its quota {VCPUS_QUOTA} (Service Quotas, AWS Fargate), or let "
        "less run at once (`harbor-aws deploy --max-vcpus`, `harbor-aws scale --max`).",
    ),
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html
    _shortage(
        r"rate exceeded|launch rate|throttl",
        "Fargate launches no more pods a second for this account: `harbor-aws deploy --launches-per-second` makes "
        "workers slower.",
    ),
    # kubernetes/pkg/scheduler/framework/plugins/noderesources/fit.go
    _shortage(
        r"insufficient (cpu|memory|ephemeral-storage|pods)\b|too many pods",
        "The cluster's nodes are full: let less run at once (`harbor-aws scale`), or add nodes.",
    ),
)

QUOTA_ADVICE = (
    "The stack's own vCPUs of trials are in use: let less run at once (`harbor-aws scale --max`), or raise them "
    "(`harbor-aws deploy --max-vcpus`)."
)


def shortage(reason: Reason) -> Shortage | None:
    """Which kind of refusal for want of room a scheduler's words are, if they are one."""
    return next((each for each in SHORTAGES if each.pattern.search(reason.message)), None)


def scheduling_hold_up(pod: Json, events: Sequence[PodEvent] = ()) -> Reason | None:
    """What a scheduler says of a pod without a node: its condition, or else the newest event."""
    if has_node(pod):
        return None
    told = scheduling_reason(pod)
    if told is not None and told.message:
        return told
    refused = [event for event in events if event.reason == "FailedScheduling"]
    return Reason(refused[-1].reason, refused[-1].message) if refused else told


def has_node(pod: Json) -> bool:
    """Whether a scheduler has given it a node, so that nothing but its image and its container are to come."""
    return bool(pod.get("spec", {}).get("nodeName"))
