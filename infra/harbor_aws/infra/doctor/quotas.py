"""What bounds how many trials run at once: Fargate's quota, the namespace's, and how fast pods are launched."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.deploy.manifests.autoscaling import SYSTEM_VCPUS
from harbor_aws.infra.deploy.manifests.limits import QUOTA
from harbor_aws.infra.doctor.asking import MissingError, ask, get
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.deployed_workers import environment_of, workers_deployment
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.fargate import DEFAULT_CPU_MILLIS, FARGATE_SERVICE, LAUNCHES_PER_SECOND, VCPUS_QUOTA
from harbor_aws.infra.settings import Settings

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

TRIAL_VCPUS = DEFAULT_CPU_MILLIS / 1000
"""Of a task that does not say how much it needs."""

_QUOTAS_URL = "https://console.aws.amazon.com/servicequotas/home/services/fargate/quotas/L-3032A538"


def wanted_vcpus(*, concurrency: int | None, slots: int, stack_vcpus: int) -> tuple[float, str]:
    """vCPUs that so many trials take with workers, names and KEDA, and what they are for. Pure."""
    trials = stack_vcpus if concurrency is None else concurrency * TRIAL_VCPUS
    workers = math.ceil(trials / TRIAL_VCPUS / slots)
    what = f"the stack's {stack_vcpus} vCPUs of trials" if concurrency is None else f"{concurrency} trials at once"
    return trials + workers + SYSTEM_VCPUS, f"{what} with {workers} workers"


async def _vcpus(subject: Subject) -> Outcome:
    quota = await _quota(subject)
    needed, what = wanted_vcpus(
        concurrency=subject.question.concurrency, slots=Settings().slots, stack_vcpus=int(subject.output("MaxVcpus"))
    )
    evidence = f"Fargate's quota is {quota:g} vCPUs in {subject.account.region}; {what} take {needed:g}"
    if quota < needed:
        return Outcome.failed(
            evidence,
            f"Ask for {math.ceil(needed)} or more: aws service-quotas request-service-quota-increase --service-code "
            f"{FARGATE_SERVICE} --quota-code {VCPUS_QUOTA} --desired-value {math.ceil(needed)} ({_QUOTAS_URL}). Until "
            f"then `harbor-aws deploy{subject.option} --max-vcpus {max(1, int(quota * 0.9))}` keeps pods from waiting.",
        )
    return Outcome.ok(evidence)


async def _quota(subject: Subject) -> float:
    """The account's own value; for some accounts there is only everybody's.
    https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html"""
    try:
        answer = await ask(
            "servicequotas:GetServiceQuota",
            lambda: subject.quotas().get_service_quota(ServiceCode=FARGATE_SERVICE, QuotaCode=VCPUS_QUOTA)["Quota"],
        )
    except MissingError:
        answer = await ask(
            "servicequotas:GetAWSDefaultServiceQuota",
            lambda: subject.quotas().get_aws_default_service_quota(ServiceCode=FARGATE_SERVICE, QuotaCode=VCPUS_QUOTA)[
                "Quota"
            ],
        )
    return answer["Value"]


async def _namespace(subject: Subject) -> Outcome:
    cluster, namespace = await subject.trials(), subject.stack.trials.namespace
    stack_vcpus, again = int(subject.output("MaxVcpus")), f"harbor-aws deploy{subject.option}"
    try:
        found = await get(cluster, f"/api/v1/namespaces/{namespace}/resourcequotas/{QUOTA}")
    except ObjectNotFoundError:
        return Outcome.failed(f"{namespace} has no ResourceQuota {QUOTA}: nothing bounds what runs", again)
    hard = vcpus(found["spec"]["hard"].get("requests.cpu", "0"))
    used = vcpus((found.get("status", {}).get("used") or {}).get("requests.cpu", "0"))
    evidence = f"{used:g} of {hard:g} vCPUs are in use"
    if hard != stack_vcpus:
        return Outcome.failed(f"{evidence}, but the stack is to have {stack_vcpus}", again)
    needed = (subject.question.concurrency or 0) * TRIAL_VCPUS
    if hard < needed:
        return Outcome.failed(
            f"{evidence}; {subject.question.concurrency} trials at once take {needed:g}",
            f"{again} --max-vcpus {math.ceil(needed)}",
        )
    return Outcome.ok(evidence)


async def _launch_rate(subject: Subject) -> Outcome:
    rate = float(environment_of(await workers_deployment(subject)).get("HARBOR_AWS_POD_LAUNCHES_PER_SECOND", "0"))
    allowed = int(subject.outputs.get("LaunchesPerSecond", LAUNCHES_PER_SECOND))
    if rate > allowed:
        return Outcome.warning(
            f"workers launch {rate:g} pods a second, Fargate {allowed}: the rest wait there, unseen",
            f"harbor-aws deploy{subject.option} --launches-per-second {allowed}, or more if AWS lets the account.",
        )
    trials = subject.question.concurrency or int(int(subject.output("MaxVcpus")) / TRIAL_VCPUS)
    seconds, patience = trials / (rate or LAUNCHES_PER_SECOND), Settings().pod_start_timeout_seconds
    evidence = f"{trials} pods take {seconds:.0f} s to launch, at {rate or LAUNCHES_PER_SECOND:g} a second"
    if not rate and seconds > patience:
        return Outcome.warning(
            f"{evidence}; a pod that has waited {patience:g} s is given up",
            "Set HARBOR_AWS_POD_LAUNCHES_PER_SECOND of the workers, so that they ramp up.",
        )
    return Outcome.ok(evidence)


def vcpus(quantity: str) -> float:
    """Kubernetes' amounts of CPU: ``2``, ``500m``, ``1k``."""
    units = {"m": Decimal("0.001"), "k": Decimal(1000)}
    unit = units.get(quantity[-1:])
    return float(Decimal(quantity[:-1]) * unit if unit else Decimal(quantity))


CHECKS = (
    Check(
        id="fargate-vcpus",
        title="Fargate has room for the trials",
        look=_vcpus,
        fix=f"Look at the quota yourself: {_QUOTAS_URL}",
        needs=("stack",),
        applies_to=ON_AWS,
    ),
    Check(
        id="trials-vcpus",
        title="The trials' namespace has room for them",
        look=_namespace,
        fix="The cluster's API must answer; run doctor again.",
        needs=("namespaces",),
        applies_to=ON_AWS,
    ),
    Check(
        id="launch-rate",
        title="Pods are launched as fast as Fargate does, and no faster",
        look=_launch_rate,
        fix="The cluster's API must answer; run doctor again.",
        needs=("worker-deployment",),
        applies_to=ON_AWS,
    ),
)
