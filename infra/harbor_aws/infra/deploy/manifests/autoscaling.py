"""What tells KEDA to have as many workers as the queue has work for. Pure.

KEDA looks into the queue; where there is nothing it has no worker, and in between it feeds Kubernetes' own
HorizontalPodAutoscaler. https://keda.sh/docs/2.20/reference/scaledobject-spec/
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.deploy.manifests.plan import DRAIN_SECONDS
from harbor_aws.infra.deploy.prices import DEFAULT_TRIAL, DNS_POD, DNS_PODS, KEDA_POD, KEDA_PODS, WORKER
from harbor_aws.infra.scaled_object import KEDA_API, MAX_WORKERS, MIN_WORKERS, SCALED_OBJECT
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

Json = dict[str, Any]

SLOTS = int(Settings.model_fields["slots"].default)
"""Trials that a worker takes at once: a queue of so many, waiting or running, is work for one."""

POLLING_SECONDS = 15
"""How often KEDA looks into the queue while there is no worker; otherwise Kubernetes asks it every 15 s."""

COOLDOWN_SECONDS = 300
"""How long the queue must have been empty before the last worker goes. SQS's counts may be a minute behind:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html"""

SYSTEM_VCPUS = (DNS_PODS * DNS_POD.cpu_millis + KEDA_PODS * KEDA_POD.cpu_millis) / 1000
"""Of CoreDNS and KEDA."""


CLUSTER_NODES = 5_000
"""That Kubernetes is made for; on Fargate each pod is one. https://kubernetes.io/docs/setup/best-practices/cluster-large/
(read on 2026-11-23)"""


def most_workers(max_vcpus: int, *, account_vcpus: float | None = None) -> int:
    """As many as trials of the default size need slots when they use all vCPUs, the last one not filled by them.

    Args:
        max_vcpus: of trials.
        account_vcpus: what Fargate gives the account for everything; workers that took it all would have none left for
            their trials. ``None`` if nobody knows.
    """
    trials = max_vcpus * 1000 // DEFAULT_TRIAL.cpu_millis
    wanted = min(ceil(trials / SLOTS), (CLUSTER_NODES - DNS_PODS - KEDA_PODS) // (1 + SLOTS))
    if account_vcpus is not None:
        with_trials = (WORKER.cpu_millis + SLOTS * DEFAULT_TRIAL.cpu_millis) / 1000
        wanted = min(wanted, ceil((account_vcpus - SYSTEM_VCPUS) / with_trials))
    return max(1, wanted)


def workers_per_minute(launches_per_second: int) -> int:
    """New workers a minute, so that they and the pods of all their trials stay within what an account launches."""
    return max(1, launches_per_second * 60 // (SLOTS + 1))


def autoscaling(plan: ClusterPlan) -> list[Json]:
    """KEDA's objects. They can be made once KEDA's kinds are there; it takes them up when it runs."""
    return [_authentication(plan), _scaled_object(plan)]


def with_bounds_of(found: Json | None, manifest: Json) -> Json:
    """The ScaledObject with the bounds that `scale` gave the one that is there."""
    said = (found or {"metadata": {}})["metadata"].get("annotations") or {}
    spec = dict(manifest["spec"])
    spec["minReplicaCount"] = int(said.get(MIN_WORKERS, spec["minReplicaCount"]))
    spec["maxReplicaCount"] = max(int(said.get(MAX_WORKERS, spec["maxReplicaCount"])), spec["minReplicaCount"])
    return {**manifest, "spec": spec}


def _authentication(plan: ClusterPlan) -> Json:
    """KEDA asks SQS as its own service account, whose role may do that and nothing else.

    https://keda.sh/docs/2.20/authentication-providers/aws/
    """
    return {
        "apiVersion": KEDA_API,
        "kind": "TriggerAuthentication",
        "metadata": {"name": SCALED_OBJECT, "namespace": plan.workers_namespace, "labels": plan.labels},
        "spec": {"podIdentity": {"provider": "aws"}},
    }


def _scaled_object(plan: ClusterPlan) -> Json:
    """If SQS does not answer, all stays as it is: there is no ``fallback``."""
    return {
        "apiVersion": KEDA_API,
        "kind": "ScaledObject",
        "metadata": {"name": SCALED_OBJECT, "namespace": plan.workers_namespace, "labels": plan.labels},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": WORKER_DEPLOYMENT},
            "minReplicaCount": 0,
            "maxReplicaCount": most_workers(plan.max_vcpus, account_vcpus=plan.account_vcpus),
            "pollingInterval": POLLING_SECONDS,
            "cooldownPeriod": COOLDOWN_SECONDS,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(plan)}},
            "triggers": [_queue(plan)],
        },
    }


def _queue(plan: ClusterPlan) -> Json:
    """Trials that run, and those that are tried again in a while, are work as well as those that wait.

    https://keda.sh/docs/2.20/scalers/aws-sqs/
    """
    return {
        "type": "aws-sqs-queue",
        "metadata": {
            "queueURL": plan.stack.queue_url,
            "awsRegion": plan.stack.region,
            "queueLength": str(SLOTS),
            "activationQueueLength": "0",
            "scaleOnInFlight": "true",
            "scaleOnDelayed": "true",
        },
        "authenticationRef": {"name": SCALED_OBJECT},
    }


def _behavior(plan: ClusterPlan) -> Json:
    """Up as fast as the account launches pods. Down late and one at a time: whatever a worker that goes has not
    finished when it has drained begins anew elsewhere.

    https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
    """
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": workers_per_minute(plan.launches_per_second), "periodSeconds": 60}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": DRAIN_SECONDS,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        },
    }
