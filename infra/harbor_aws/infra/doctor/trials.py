"""The trials' pods that are there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import get
from harbor_aws.infra.doctor.check import Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.doctor.pod_state import age_seconds, trouble, waits_for
from harbor_aws.infra.labels import WORKER_LABEL

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

SLOW_SECONDS = 120
"""Fargate takes half a minute to one for a machine, and then pulls the image."""

STUCK_SECONDS = 300
"""Half of what a worker waits before it gives a pod up."""


async def _pending(subject: Subject) -> Outcome:
    cluster = await subject.trials()
    pods = (await get(cluster, cluster.pods_path, query={"labelSelector": WORKER_LABEL}))["items"]
    now = datetime.now(UTC)
    waiting = [pod for pod in pods if pod.get("status", {}).get("phase", "Pending") == "Pending"]
    late = sorted(
        (pod for pod in waiting if age_seconds(pod, now) > SLOW_SECONDS or trouble(pod)),
        key=lambda pod: -age_seconds(pod, now),
    )
    if not late:
        return Outcome.ok(f"{len(pods)} pods, {len(waiting)} of them just starting")
    oldest = late[0]
    evidence = (
        f"{len(late)} pods do not start; {oldest['metadata']['name']} waits for "
        f"{age_seconds(oldest, now) / 60:.0f} min: {waits_for(oldest)}"
    )
    fix = (
        f"kubectl -n {cluster.namespace} describe pod {oldest['metadata']['name']}. No capacity: the check "
        "fargate-vcpus; an image that cannot be pulled: pull-rights, and the task's image."
    )
    is_stuck = any(age_seconds(pod, now) > STUCK_SECONDS for pod in late)
    return Outcome.failed(evidence, fix) if is_stuck else Outcome.warning(evidence, fix)


CHECKS = (
    Check(
        id="pending-pods",
        title="Trials' pods start in time",
        look=_pending,
        fix="The cluster's API must answer; run doctor again.",
        needs=("namespaces",),
    ),
)
