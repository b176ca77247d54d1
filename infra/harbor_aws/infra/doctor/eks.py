"""EKS's side of the cluster: whether it is there, and what Fargate needs for its pods."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import MissingError, ask
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.finding import Outcome

if TYPE_CHECKING:
    from mypy_boto3_eks.type_defs import FargateProfileTypeDef

    from harbor_aws.infra.doctor.subject import Subject

SYSTEM_NAMESPACE = "kube-system"

PULL_POLICIES = frozenset({"AmazonEKSFargatePodExecutionRolePolicy", "AmazonEC2ContainerRegistryReadOnly"})
"""Of which one lets Fargate pull from ECR. https://docs.aws.amazon.com/eks/latest/userguide/pod-execution-role.html"""


async def _eks(subject: Subject) -> Outcome:
    name = subject.stack.cluster_name
    if name is None:
        return Outcome.failed(f"{subject.question.stack} has no cluster", f"harbor-aws deploy{subject.option}")
    try:
        found = await ask("eks:DescribeCluster", lambda: subject.eks().describe_cluster(name=name)["cluster"])
    except MissingError:
        return Outcome.failed(f"EKS has no cluster {name}", f"harbor-aws destroy{subject.option}, then deploy")
    if found["status"] == "UPDATING":  # its API answers meanwhile
        return Outcome.warning(f"{name} is UPDATING", "Wait; streams to pods may be cut, and are taken up again.")
    if found["status"] != "ACTIVE":
        return Outcome.failed(
            f"{name} is {found['status']}", f"aws eks describe-cluster --name {name} says why, in its health"
        )
    return Outcome.ok(f"{name} is ACTIVE, Kubernetes {found['version']}")


async def _profiles(subject: Subject) -> Outcome:
    profiles = await _described_profiles(subject)
    wanted = [SYSTEM_NAMESPACE, subject.stack.workers.namespace, subject.stack.trials.namespace]
    wanted += [subject.outputs["SystemNamespace"]] if "SystemNamespace" in subject.outputs else []
    defects = []
    for namespace in wanted:
        here = [each for each in profiles if namespace in _namespaces_of(each)]
        if not here:
            defects.append(f"no profile takes pods of {namespace}")
        elif not any(each["status"] == "ACTIVE" for each in here):
            defects.append(f"{', '.join(f'{e["fargateProfileName"]} is {e["status"]}' for e in here)} ({namespace})")
    if defects:
        return Outcome.failed(
            "; ".join(defects) + ": its pods stay Pending",
            f"Wait if it is CREATING; else `harbor-aws deploy{subject.option}` makes it anew.",
        )
    return Outcome.ok(f"{', '.join(sorted(each['fargateProfileName'] for each in profiles))} are ACTIVE")


async def _described_profiles(subject: Subject) -> list[FargateProfileTypeDef]:
    name = subject.stack.cluster_name or ""
    names = await ask(
        "eks:ListFargateProfiles",
        lambda: subject.eks().list_fargate_profiles(clusterName=name)["fargateProfileNames"],
    )

    async def describe(profile: str) -> FargateProfileTypeDef:
        return await ask(
            "eks:DescribeFargateProfile",
            lambda: subject.eks().describe_fargate_profile(clusterName=name, fargateProfileName=profile)[
                "fargateProfile"
            ],
        )

    return list(await asyncio.gather(*(describe(each) for each in names)))


def _namespaces_of(profile: FargateProfileTypeDef) -> set[str]:
    return {each.get("namespace", "") for each in profile.get("selectors", [])}


async def _pull_rights(subject: Subject) -> Outcome:
    roles = {each["podExecutionRoleArn"].rsplit("/", 1)[1] for each in await _described_profiles(subject)}
    without = []
    for role in sorted(roles):
        try:
            attached = await ask(
                "iam:ListAttachedRolePolicies",
                lambda role=role: subject.iam().list_attached_role_policies(RoleName=role)["AttachedPolicies"],  # type: ignore[misc]  # mypy cannot infer a lambda's default
            )
        except MissingError:
            without.append(f"{role} does not exist")
            continue
        if not PULL_POLICIES & {each["PolicyName"] for each in attached}:
            without.append(f"{role} has no policy to pull from ECR")
    if without:
        return Outcome.failed(
            "; ".join(without),
            f"aws iam attach-role-policy --role-name {sorted(roles)[0]} --policy-arn "
            "arn:aws:iam::aws:policy/AmazonEKSFargatePodExecutionRolePolicy",
        )
    return Outcome.ok(f"{', '.join(sorted(roles))} may pull from ECR")


_EKS = "Let this machine reach EKS by HTTPS (port 443); https://health.aws.amazon.com says how EKS is."

CHECKS = (
    Check(id="cluster", title="The EKS cluster is active", look=_eks, fix=_EKS, needs=("stack",), applies_to=ON_AWS),
    Check(
        id="fargate-profiles",
        title="Fargate takes pods of all namespaces",
        look=_profiles,
        fix=_EKS,
        needs=("cluster",),
        applies_to=ON_AWS,
    ),
    Check(
        id="pull-rights",
        title="Fargate may pull images",
        look=_pull_rights,
        fix=_EKS,
        needs=("cluster",),
        applies_to=ON_AWS,
    ),
)
