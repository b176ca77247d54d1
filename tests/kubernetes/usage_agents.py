"""Agents whose trials' pods are billed as Fargate would bill them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, override

from tests.unit.worker.trial_fakes import IdleAgent

from harbor_aws.infra.errors import ExecError, PermanentError
from harbor_aws.worker.attempt import Attempt, current_attempt

if TYPE_CHECKING:
    from harbor.environments.base import BaseEnvironment

CAPACITY = "0.5vCPU 1GB"


class BilledAgent(IdleAgent):
    """Annotates its pod as Fargate does, and waits until the worker knows."""

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: Any) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        cluster = attempt.pods.cluster
        await cluster.request(
            "PATCH",
            f"{cluster.pods_path}/{attempt.pod_names[0]}",
            body={"metadata": {"annotations": {"CapacityProvisioned": CAPACITY}}},
            content_type="application/merge-patch+json",
        )
        async with asyncio.timeout(60):
            while not attempt.used.usages[0].is_provisioned:
                await asyncio.sleep(0.01)
        self.fail(attempt)

    def fail(self, attempt: Attempt) -> None:
        """Nothing is wrong."""


class CutAgent(BilledAgent):
    """Its attempt fails, and is tried again."""

    @override
    def fail(self, attempt: Attempt) -> None:
        attempt.failures.append(ExecError("cut"))


class HopelessAgent(BilledAgent):
    """Its attempt fails for good."""

    @override
    def fail(self, attempt: Attempt) -> None:
        attempt.failures.append(PermanentError("never"))
