"""Environments in memory whose pods ran for an hour by what their objects say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, override

from tests.unit.worker.trial_fakes import LosingPodsEnvironment, MemoryEnvironment

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.pod import Pod
from harbor_aws.worker.pod_spec import PodOwner, PodRequest, pod_manifest

HOUR = timedelta(hours=1)


def billed_pod(*, job: str, trial: str, attempt_id: str, worker: str, session: str) -> dict[str, Any]:
    """A pod of 1 vCPU and 3 GB that was given its node an hour ago, as the cluster tells of it."""
    owner = PodOwner(job=job, trial=trial, attempt_id=attempt_id, worker=worker, session=session)
    pod = pod_manifest(PodRequest(owner=owner, image="i", size=FargateSize(1000, 3072), deadline_seconds=60))
    began = (datetime.now(UTC) - HOUR).isoformat()
    pod["metadata"] |= {"uid": "u", "resourceVersion": "1", "creationTimestamp": began}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": began}
    pod["status"] = {"phase": "Running", "conditions": [scheduled]}
    return pod


class BilledEnvironment(MemoryEnvironment):
    """Has such a pod."""

    @override
    async def start(self, force_build: bool) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        pod = billed_pod(
            job=attempt.job,
            trial=attempt.trial,
            attempt_id=attempt.attempt_id,
            worker=attempt.worker,
            session=self.session_id,
        )
        self._billed = Pod(pod["metadata"]["name"])
        self._billed.see(pod)
        attempt.used.add(self._billed)
        await super().start(force_build)

    @override
    async def stop(self, delete: bool) -> None:
        self._billed.gone_at = datetime.now(UTC)
        await super().stop(delete)


class BilledInVainEnvironment(BilledEnvironment, LosingPodsEnvironment):
    """Has such a pod, with which something is wrong in the end."""
