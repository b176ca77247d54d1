"""All checks, each after those that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.doctor import (
    alarms,
    bucket,
    cluster,
    deployment,
    eks,
    execution,
    images,
    machine,
    probe,
    queues,
    quotas,
    rights,
    trials,
    way,
    workers,
)

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.check import Check

CHECKS: tuple[Check, ...] = (
    *way.CHECKS,
    *deployment.CHECKS,
    *machine.CHECKS,
    *queues.CHECKS,
    *bucket.CHECKS,
    *eks.CHECKS,
    *cluster.CHECKS,
    *workers.CHECKS,
    *rights.CHECKS,
    *images.CHECKS,
    *quotas.CHECKS,
    *trials.CHECKS,
    *execution.CHECKS,
    *probe.CHECKS,
    *alarms.CHECKS,
)
