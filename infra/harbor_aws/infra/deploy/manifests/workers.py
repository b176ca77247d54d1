"""The workers' Deployment, with what it reads and what keeps it whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.deploy.manifests.permissions import SERVICE_ACCOUNT
from harbor_aws.infra.deploy.prices import WORKER
from harbor_aws.infra.labels import PREFIX
from harbor_aws.infra.secrets.kubernetes import SECRETS
from harbor_aws.infra.secrets.names import DIRECTORIES_VARIABLE
from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

CONFIGURATION = "harbor-aws-stack"
"""The ConfigMap that holds the stack's outputs."""

USER = 1000
"""Whom workers run as; theirs is an image that knows nobody else."""

GRACE_MARGIN_SECONDS = 30
"""Between a worker's own end of draining and the kill that Kubernetes sends; cleaning up takes 20 at most."""

ALIVE_SECONDS = 300
"""How old the sign that a worker receives may be. Older than any lease on a message, so that a worker that is restarted
for it, because SQS has not answered for so long, has no trial that is still its own."""

_SCRATCH = "/tmp"  # noqa: S108 - in the pod, and the pod's alone
_STATE = "/var/lib/harbor-aws/state"
_SECRETS = "/etc/harbor-aws/secrets"
_ALIVE = f"{_SCRATCH}/alive"


def workers(plan: ClusterPlan) -> list[dict[str, Any]]:
    return [_configuration(plan), _disruption_budget(plan), _deployment(plan)]


def _selected() -> dict[str, str]:
    """The labels that tell the workers' pods; a Deployment cannot change them."""
    return {"app.kubernetes.io/name": WORKER_DEPLOYMENT}


def _configuration(plan: ClusterPlan) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIGURATION, "namespace": plan.workers_namespace, "labels": plan.labels},
        "data": {"stack.json": _stack_json(plan)},
    }


def _stack_json(plan: ClusterPlan) -> str:
    return plan.workers_stack.model_dump_json(indent=2)


def _disruption_budget(plan: ClusterPlan) -> dict[str, Any]:
    """When Fargate patches its machines, one worker at a time drains."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": WORKER_DEPLOYMENT, "namespace": plan.workers_namespace, "labels": plan.labels},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selected()}},
    }


def _deployment(plan: ClusterPlan) -> dict[str, Any]:
    """It says no number of replicas: that is ``scale``'s."""
    digest = hashlib.sha256(_stack_json(plan).encode()).hexdigest()[:16]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": WORKER_DEPLOYMENT,
            "namespace": plan.workers_namespace,
            "labels": {**plan.labels, **_selected()},
        },
        "spec": {
            "selector": {"matchLabels": _selected()},
            "template": {
                "metadata": {
                    "labels": {**plan.labels, **_selected()},
                    "annotations": {f"{PREFIX}configuration": digest},  # workers read it once, so they begin anew
                },
                "spec": _pod(plan),
            },
        },
    }


def _pod(plan: ClusterPlan) -> dict[str, Any]:
    """One that Pod Security's *restricted* admits."""
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": plan.drain_seconds + GRACE_MARGIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan)],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "stack", "configMap": {"name": CONFIGURATION}},
            # Files, not envFrom: a worker must know which of its variables are secrets, and what it reads by itself is
            # not in its /proc/1/environ.
            {"name": "secrets", "secret": {"secretName": SECRETS, "optional": True, "defaultMode": 0o440}},
        ],
    }


def _container(plan: ClusterPlan) -> dict[str, Any]:
    size = {"cpu": f"{WORKER.cpu_millis}m" if WORKER.cpu_millis % 1000 else str(WORKER.cpu_millis // 1000)}
    size["memory"] = f"{WORKER.container_memory_mib}Mi"
    return {
        "name": "worker",
        "image": plan.worker_image,
        "imagePullPolicy": "IfNotPresent",  # a tag is never moved
        "command": ["python", "-m", "harbor_aws.worker"],
        "env": [{"name": name, "value": value} for name, value in sorted(_environment(plan).items())],
        "resources": {"requests": size, "limits": size},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "livenessProbe": {
            "exec": {"command": ["sh", "-c", _alive_check()]},
            "initialDelaySeconds": 60,
            "periodSeconds": 60,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": _SCRATCH},
            {"name": "stack", "mountPath": f"{_STATE}/harbor-aws/{plan.stack.name}", "readOnly": True},
            {"name": "secrets", "mountPath": _SECRETS, "readOnly": True},
        ],
    }


def _environment(plan: ClusterPlan) -> dict[str, str]:
    """Variables that a worker has whatever the Secret says: :data:`~harbor_aws.infra.secrets.names.RESERVED`."""
    return {
        "AWS_REGION": plan.stack.region,
        "HARBOR_AWS_ALIVE_FILE": _ALIVE,
        "HARBOR_AWS_DRAIN_SECONDS": str(plan.drain_seconds),
        "HARBOR_AWS_POD_LAUNCHES_PER_SECOND": str(plan.launches_per_second),
        "HARBOR_AWS_POD_LAUNCH_BURST": str(plan.launches_per_second),  # see infra.fargate.LAUNCH_BURST
        DIRECTORIES_VARIABLE: _SECRETS,
        "HARBOR_AWS_STACK": plan.stack.name,
        "HOME": _SCRATCH,  # Harbor and the agents' libraries keep caches there
        "MALLOC_ARENA_MAX": "2",  # see harbor_aws.infra.local.workers
        "TMPDIR": _SCRATCH,
        "XDG_STATE_HOME": _STATE,
    }


def _alive_check() -> str:
    return f'test "$(( $(date +%s) - $(stat -c %Y {_ALIVE}) ))" -lt {ALIVE_SECONDS}'
