"""What trials' pods may use together, and whom they may talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harbor_aws.infra.labels import NETWORK_LABEL, NO_NETWORK

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

SECURITY_GROUP_API = "vpcresources.k8s.aws/v1beta1"
"""EKS brings it to every cluster; no other Kubernetes knows it.
https://docs.aws.amazon.com/eks/latest/userguide/sg-pods-example-deployment.html"""

QUOTA = "harbor-aws-trials"
"""The ResourceQuota's name, and the SecurityGroupPolicy's."""

ISOLATED = f"{QUOTA}-isolated"
"""The SecurityGroupPolicy's of pods that are to have no network."""


def limits(plan: ClusterPlan) -> list[dict[str, Any]]:
    return [_quota(plan), *_security_group_policies(plan)]


def _quota(plan: ClusterPlan) -> dict[str, Any]:
    """Of requests, which are what Fargate bills by; a pod that asks for nothing is refused."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": QUOTA, "namespace": plan.trials_namespace, "labels": plan.labels},
        "spec": {"hard": {"requests.cpu": str(plan.max_vcpus)}},
    }


def _security_group_policies(plan: ClusterPlan) -> list[dict[str, Any]]:
    """Of every pod in the namespace, whoever made it. They hold for pods that are made after them.

    A pod that several select is in the groups of all, and those allow what any of them does: none is selected twice.
    """
    if plan.isolated_security_group is None:
        return [_security_group_policy(plan, QUOTA, {}, plan.trials_security_group)]
    without = {"key": NETWORK_LABEL, "operator": "In", "values": [NO_NETWORK]}
    others = {**without, "operator": "NotIn"}  # those without the label too
    return [
        _security_group_policy(plan, QUOTA, {"matchExpressions": [others]}, plan.trials_security_group),
        _security_group_policy(plan, ISOLATED, {"matchExpressions": [without]}, plan.isolated_security_group),
    ]


def _security_group_policy(plan: ClusterPlan, name: str, pods: dict[str, Any], group: str) -> dict[str, Any]:
    return {
        "apiVersion": SECURITY_GROUP_API,
        "kind": "SecurityGroupPolicy",
        "metadata": {"name": name, "namespace": plan.trials_namespace, "labels": plan.labels},
        "spec": {"podSelector": pods, "securityGroups": {"groupIds": [group]}},
    }
