"""The namespaces, and which pods they admit.

https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.deploy.manifests.plan import ClusterPlan

LOGGING_NAMESPACE = "aws-observability"
"""Where Fargate looks for what it is to do with pods' output, and nowhere else.
https://docs.aws.amazon.com/eks/latest/userguide/fargate-logging.html"""

_POD_SECURITY = "pod-security.kubernetes.io"


def namespaces(plan: ClusterPlan) -> list[dict[str, Any]]:
    return [
        # A trial is root in its pod, since images install packages; those that are not are admitted without a warning.
        _namespace(
            plan, plan.trials_namespace, {f"{_POD_SECURITY}/enforce": "baseline", f"{_POD_SECURITY}/warn": "restricted"}
        ),
        _namespace(plan, plan.workers_namespace, {f"{_POD_SECURITY}/enforce": "restricted"}),
        _namespace(plan, LOGGING_NAMESPACE, {"aws-observability": "enabled"}),
    ]


def _namespace(plan: ClusterPlan, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**plan.labels, **labels}},
    }
