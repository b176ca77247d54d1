"""Who the workers are in the cluster, and what they may do there: what their code does, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.stack import WORKER_DEPLOYMENT

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

SERVICE_ACCOUNT = "harbor-aws-worker"
"""The IAM role's trust names it."""

_RBAC = "rbac.authorization.k8s.io"

RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "pods", ("create", "delete", "get", "list", "watch")),
    # A WebSocket is a GET. Kubernetes 1.35 and newer ask for create all the same, since it is more than reading.
    ("", "pods/exec", ("create", "get")),
    ("", "events", ("list",)),
    ("coordination.k8s.io", "leases", ("create", "delete", "list", "patch")),
    # The first sign of life finds no Lease, and asks whether it is the namespace that is missing. Of its own alone.
    ("", "namespaces", ("get",)),
)
"""API group, resource and verbs, in the trials' namespace."""


def permissions(plan: ClusterPlan) -> list[dict[str, Any]]:
    return [_service_account(plan), _role(plan), _role_binding(plan)]


def _service_account(plan: ClusterPlan) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": SERVICE_ACCOUNT,
            "namespace": plan.workers_namespace,
            "labels": plan.labels,
            # https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
            "annotations": {"eks.amazonaws.com/role-arn": plan.worker_role_arn},
        },
    }


def _role(plan: ClusterPlan) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": WORKER_DEPLOYMENT, "namespace": plan.trials_namespace, "labels": plan.labels},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)} for group, resource, verbs in RULES
        ],
    }


def _role_binding(plan: ClusterPlan) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": WORKER_DEPLOYMENT, "namespace": plan.trials_namespace, "labels": plan.labels},
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": WORKER_DEPLOYMENT},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": plan.workers_namespace}],
    }
