"""The workers: whether they are there, run, are of this version, know the stack and are scaled."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.deploy.manifests.workers import CONFIGURATION
from harbor_aws.infra.deploy.prices import TRIALS_PER_WORKER
from harbor_aws.infra.doctor.asking import get
from harbor_aws.infra.doctor.check import ON_AWS, Check, Kind
from harbor_aws.infra.doctor.deployed_workers import (
    autoscaler,
    environment_of,
    find_deployment,
    image_of,
    is_scaled_by_itself,
    workers_deployment,
)
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.doctor.pod_state import age_seconds, trouble, waits_for
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, KubernetesAccess, Stack

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

Json = dict[str, Any]

PENDING_SECONDS = 300
"""For a pod to start; Fargate takes a minute, and the pull of a large image two or three more."""


async def _deployment(subject: Subject) -> Outcome:
    deployment = await find_deployment(subject)
    if deployment is None:
        again = "harbor-aws local up" if subject.kind is Kind.LOCAL else f"harbor-aws deploy{subject.option}"
        return Outcome.failed(f"there is no Deployment {WORKER_DEPLOYMENT} in {subject.stack.workers.namespace}", again)
    return Outcome.ok(f"{WORKER_DEPLOYMENT} runs {image_of(deployment)}")


async def _workers(subject: Subject) -> Outcome:
    deployment = await workers_deployment(subject)
    troubles = [f"{pod['metadata']['name']}: {why}" for pod in await _pods(subject, deployment) if (why := _why(pod))]
    if troubles:
        return Outcome.failed(
            "; ".join(troubles[:3]) + (f" and {len(troubles) - 3} more" if len(troubles) > 3 else ""),
            f"kubectl -n {subject.stack.workers.namespace} describe pod, and logs --previous, say more; an image that "
            f"is not there is built by `harbor-aws deploy{subject.option}`.",
        )
    return await _numbers(subject, deployment)


async def _numbers(subject: Subject, deployment: Json) -> Outcome:
    wanted, ready = deployment["spec"]["replicas"], deployment.get("status", {}).get("readyReplicas", 0)
    evidence = f"{ready} of {wanted} ready"
    if await is_scaled_by_itself(subject):
        return Outcome.ok(f"{evidence}, scaled by the queue's depth")
    slots = int(environment_of(deployment).get("HARBOR_AWS_SLOTS", TRIALS_PER_WORKER))
    concurrency = subject.question.concurrency or 0
    enough = max(1, -(-concurrency // slots))
    if wanted < enough:
        what = (
            f"; {concurrency} trials at once take {enough} workers of {slots} slots"
            if concurrency
            else ": nothing starts"
        )
        return Outcome.warning(evidence + what, f"harbor-aws scale {enough}{subject.option}")
    if ready < wanted:
        return Outcome.warning(f"{evidence}, the others start", "Wait a minute or two, then run doctor again.")
    return Outcome.ok(f"{evidence}, {slots} slots each")


async def _pods(subject: Subject, deployment: Json) -> list[Json]:
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    namespace = subject.stack.workers.namespace
    found = await get(
        await subject.workers(), f"/api/v1/namespaces/{namespace}/pods", query={"labelSelector": selector}
    )
    pods: list[Json] = found["items"]
    return pods


def _why(pod: Json) -> str | None:
    if why := trouble(pod):
        return why
    if pod["status"].get("phase") == "Pending" and age_seconds(pod, datetime.now(UTC)) > PENDING_SECONDS:
        return f"Pending for {age_seconds(pod, datetime.now(UTC)) / 60:.0f} min: {waits_for(pod)}"
    return None


async def _configuration(subject: Subject) -> Outcome:
    """That the workers read the queues and the bucket that this command sees."""
    cluster, access = await subject.workers(), subject.stack.workers
    again = f"harbor-aws deploy{subject.option}"
    try:
        found = await get(cluster, f"/api/v1/namespaces/{access.namespace}/configmaps/{CONFIGURATION}")
        theirs = Stack.model_validate_json(found["data"]["stack.json"])
    except ObjectNotFoundError:
        return Outcome.failed(f"{access.namespace} has no ConfigMap {CONFIGURATION}: workers do not start", again)
    except (KeyError, TypeError, ValidationError) as error:
        return Outcome.failed(f"the ConfigMap {CONFIGURATION} cannot be read: {error}", again)
    ours = subject.stack.model_copy(
        update={
            "trials": KubernetesAccess(namespace=subject.stack.trials.namespace),
            "workers": KubernetesAccess(namespace=access.namespace),
        }
    )
    differs = _differences(theirs.model_dump(mode="json"), ours.model_dump(mode="json"))
    if differs:
        return Outcome.failed(f"workers have another {'; another '.join(differs)}", again)
    return Outcome.ok("workers have the queues, bucket and namespaces that CloudFormation says")


def _differences(theirs: Json, ours: Json) -> list[str]:
    return [f"{key} ({json.dumps(theirs.get(key))})" for key in ours if theirs.get(key) != ours[key]]


async def _autoscaling(subject: Subject) -> Outcome:
    found = await autoscaler(subject)
    if found is None:
        return Outcome.skipped("no autoscaler: workers are scaled by hand")
    name, metadata = found["metadata"]["name"], found["metadata"]
    conditions = {each["type"]: each for each in found.get("status", {}).get("conditions") or []}
    ready, paused = conditions.get("Ready", {}), conditions.get("Paused", {})
    if ready.get("status") != "True":
        return Outcome.failed(
            f"{name} is not ready: {ready.get('reason', '')} {ready.get('message', 'it says nothing')}".strip(),
            f"kubectl -n {metadata['namespace']} describe scaledobject {name}; until it is mended, "
            f"`harbor-aws scale N{subject.option}` scales by hand.",
        )
    if paused.get("status") == "True":
        return Outcome.warning(f"{name} is paused", f"harbor-aws scale --auto{subject.option}")
    most = int(found["spec"].get("maxReplicaCount", 100))  # KEDA's own default
    slots = int(environment_of(await workers_deployment(subject)).get("HARBOR_AWS_SLOTS", TRIALS_PER_WORKER))
    concurrency = subject.question.concurrency or 0
    if most * slots < concurrency:
        return Outcome.warning(
            f"{name} makes {most} workers at most, of {slots} slots, for {concurrency} trials at once",
            f"harbor-aws scale --max {-(-concurrency // slots)}{subject.option}",
        )
    return Outcome.ok(f"{name} is ready, up to {most} workers")


_AGAIN = "The cluster's API must answer; run doctor again."

CHECKS = (
    Check(
        id="worker-deployment",
        title="The workers' Deployment is there",
        look=_deployment,
        fix=_AGAIN,
        needs=("namespaces",),
    ),
    Check(id="workers", title="Workers run", look=_workers, fix=_AGAIN, needs=("worker-deployment",)),
    Check(
        id="worker-configuration",
        title="Workers know the stack as it is",
        look=_configuration,
        fix=_AGAIN,
        needs=("namespaces",),
        applies_to=ON_AWS,
    ),
    Check(
        id="autoscaling",
        title="The autoscaler is at work",
        look=_autoscaling,
        fix=_AGAIN,
        needs=("worker-deployment",),
        applies_to=ON_AWS,
    ),
)
