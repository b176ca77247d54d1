"""The workers' Deployment as the cluster has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.doctor.asking import MayNotAskError, get
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

Json = dict[str, Any]

AUTOSCALER_API = "/apis/keda.sh/v1alpha1"


async def workers_deployment(subject: Subject) -> Json:
    """For checks that rest on ``worker-deployment``.

    Raises:
        ObjectNotFoundError: it has gone meanwhile.
    """
    found = await find_deployment(subject)
    if found is None:
        raise ObjectNotFoundError(f"The Deployment {WORKER_DEPLOYMENT} has gone.")
    return found


async def find_deployment(subject: Subject) -> Json | None:
    """``None`` if there is none."""
    cluster, namespace = await subject.workers(), subject.stack.workers.namespace
    try:
        return await get(cluster, f"/apis/apps/v1/namespaces/{namespace}/deployments/{WORKER_DEPLOYMENT}")
    except ObjectNotFoundError:
        return None


async def autoscaler(subject: Subject) -> Json | None:
    """The ScaledObject of the workers; ``None`` if there is none, or no KEDA."""
    cluster, namespace = await subject.workers(), subject.stack.workers.namespace
    try:
        found = await get(cluster, f"{AUTOSCALER_API}/namespaces/{namespace}/scaledobjects")
    except ObjectNotFoundError:
        return None
    targets = (each for each in found["items"] if _target(each) == WORKER_DEPLOYMENT)
    return next(targets, None)


async def is_scaled_by_itself(subject: Subject) -> bool:
    """Whether there is an autoscaler, as far as it may be asked."""
    try:
        return await autoscaler(subject) is not None
    except MayNotAskError:
        return False


def environment_of(deployment: Json) -> dict[str, str]:
    """The variables that its pods have by name and value."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def image_of(deployment: Json) -> str:
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def _target(scaled: Json) -> str:
    name: str = scaled["spec"]["scaleTargetRef"]["name"]
    return name
