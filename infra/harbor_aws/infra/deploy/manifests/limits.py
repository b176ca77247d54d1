"""What trials' pods may use together, and whom they may talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

SECURITY_GROUP_API = "vpcresources.k8s.aws/v1beta1"
"""EKS brings it to every cluster; no other Kubernetes knows it.
https://docs.aws.amazon.com/eks/latest/userguide/sg-pods-example-deployment.html"""

QUOTA = "harbor-aws-trials"
"""The ResourceQuota's name, and the SecurityGroupPolicy's."""


def limits(plan: ClusterPlan) -> list[dict[str, Any]]:
    return [_quota(plan), _security_group_policy(plan)]


def _quota(plan: ClusterPlan) -> dict[str, Any]:
    """Of requests, which are what Fargate bills by; a pod that asks for nothing is refused."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": QUOTA, "namespace": plan.trials_namespace, "labels": plan.labels},
        "spec": {"hard": {"requests.cpu": str(plan.max_vcpus)}},
    }


def _security_group_policy(plan: ClusterPlan) -> dict[str, Any]:
    """Of every pod in the namespace, whoever made it. It holds for pods that are made after it."""
    return {
        "apiVersion": SECURITY_GROUP_API,
        "kind": "SecurityGroupPolicy",
        "metadata": {"name": QUOTA, "namespace": plan.trials_namespace, "labels": plan.labels},
        "spec": {"podSelector": {}, "securityGroups": {"groupIds": [plan.trials_security_group]}},
    }
