"""Who the workers are, to the cluster and to AWS, and what they may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.cluster import ObjectNotFoundError
from harbor_aws.infra.deploy.manifests.permissions import RULES, SERVICE_ACCOUNT
from harbor_aws.infra.doctor.asking import get, request
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.secrets.kubernetes import SECRETS

if TYPE_CHECKING:
    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.doctor.subject import Subject

ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
"""https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html"""

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


async def _rights(subject: Subject) -> Outcome:
    """Asked for the workers' service account, not for whoever asks."""
    cluster, stack = await subject.trials(), subject.stack
    wanted = [(group, resource, verb) for group, resource, verbs in RULES for verb in verbs]
    user = f"system:serviceaccount:{stack.workers.namespace}:{SERVICE_ACCOUNT}"
    answers = await asyncio.gather(
        *(_may(cluster, user, stack.trials.namespace, *right, groups=_groups(subject)) for right in wanted)
    )
    denied = [f"{verb} {resource}" for (_, resource, verb), allowed in zip(wanted, answers, strict=True) if not allowed]
    if denied:
        return Outcome.failed(
            f"{user} may not {', '.join(denied)} in {stack.trials.namespace}", f"harbor-aws deploy{subject.option}"
        )
    return Outcome.ok(f"{SERVICE_ACCOUNT} has all {len(wanted)} rights that a worker uses")


async def _may(
    cluster: Cluster, user: str, namespace: str, group: str, resource: str, verb: str, *, groups: list[str]
) -> bool:
    name, _, subresource = resource.partition("/")
    attributes = {"namespace": namespace, "group": group, "resource": name, "subresource": subresource, "verb": verb}
    if name == "namespaces":
        attributes["name"] = namespace  # of itself alone
    body: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    answer = await request(cluster, "POST", _REVIEWS, body=body)
    return bool(answer["status"].get("allowed"))


def _groups(subject: Subject) -> list[str]:
    """Of every service account. https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens"""
    namespace = subject.stack.workers.namespace
    return ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]


async def _identity(subject: Subject) -> Outcome:
    cluster, namespace = await subject.workers(), subject.stack.workers.namespace
    again, wanted = f"harbor-aws deploy{subject.option}", subject.output("WorkerRoleArn")
    try:
        found = await get(cluster, f"/api/v1/namespaces/{namespace}/serviceaccounts/{SERVICE_ACCOUNT}")
    except ObjectNotFoundError:
        return Outcome.failed(f"{namespace} has no service account {SERVICE_ACCOUNT}", again)
    seen = (found["metadata"].get("annotations") or {}).get(ROLE_ANNOTATION)
    if seen != wanted:
        return Outcome.failed(f"{SERVICE_ACCOUNT} has the role {seen}, not {wanted}: AWS refuses workers", again)
    return Outcome.ok(f"{SERVICE_ACCOUNT} is {wanted}")


async def _keys(subject: Subject) -> Outcome:
    """Names alone; what they hold is not looked at."""
    cluster, namespace = await subject.workers(), subject.stack.workers.namespace
    try:
        found = await get(cluster, f"/api/v1/namespaces/{namespace}/secrets/{SECRETS}")
    except ObjectNotFoundError:
        return Outcome.warning(
            f"there is no Secret {SECRETS} in {namespace}: agents that call a model find no key",
            f"harbor-aws secrets set ANTHROPIC_API_KEY{subject.option}; none is needed for agents without a model.",
        )
    names = sorted(found.get("data") or {})
    if not names:
        return Outcome.warning(f"the Secret {SECRETS} is empty", f"harbor-aws secrets set NAME{subject.option}")
    return Outcome.ok(f"{', '.join(names)} (values not looked at)")


_AGAIN = "The cluster's API must answer; run doctor again."

CHECKS = (
    Check(
        id="worker-rights",
        title="Workers may do what they do in the cluster",
        look=_rights,
        fix=_AGAIN,
        needs=("namespaces",),
        applies_to=ON_AWS,
    ),
    Check(
        id="worker-identity",
        title="Workers have their role of AWS",
        look=_identity,
        fix=_AGAIN,
        needs=("namespaces",),
        applies_to=ON_AWS,
    ),
    Check(
        id="agent-keys",
        title="Agents have keys of models",
        look=_keys,
        fix=_AGAIN,
        needs=("namespaces",),
        applies_to=ON_AWS,
    ),
)
