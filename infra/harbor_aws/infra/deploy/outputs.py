"""From CloudFormation's outputs to a :class:`~harbor_aws.infra.stack.Stack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.aws import Account, configured_region
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.stack import EksCluster, KubernetesAccess, Stack

if TYPE_CHECKING:
    from collections.abc import Mapping


def deployed_stack(name: str) -> Stack:
    """The stack ``name`` in the account and region of AWS's own configuration.

    Raises:
        UsageError: there is none, it is not whole, or AWS cannot be asked.
    """
    region = configured_region()
    if region is None:
        raise UsageError(
            f"There is no stack {name!r} on this machine, and no region of AWS is configured in which to look for it: "
            "set AWS_REGION."
        )
    try:
        found = Stacks.of(Account(region)).describe(name)
    except UsageError as error:
        raise UsageError(f"There is no stack {name!r} on this machine. {error}") from error
    if found is None:
        raise UsageError(
            f"There is no stack {name!r} on this machine or in {region}; `harbor-aws deploy --stack {name}` makes it."
        )
    if not found.is_ours:
        raise UsageError(f"CloudFormation's stack {name!r} in {region} is not one of harbor-aws.")
    if not found.outputs:
        raise UsageError(
            f"The stack {name!r} is not whole (it is {found.status}); `harbor-aws deploy --stack {name}` goes on."
        )
    return stack_from_outputs(name, region=region, outputs=found.outputs)


def stack_from_outputs(name: str, *, region: str, outputs: Mapping[str, str]) -> Stack:
    """What the template's outputs say.

    Raises:
        UsageError: some are missing: another version deployed the stack.
    """
    try:
        cluster = _cluster(region, outputs)
        return Stack(
            name=name,
            region=region,
            queue_url=outputs["QueueUrl"],
            dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
            bucket=outputs["BucketName"],
            trials=KubernetesAccess(eks=cluster, namespace=outputs["TrialsNamespace"]),
            workers=KubernetesAccess(eks=cluster, namespace=outputs["WorkersNamespace"]),
            image_repository=outputs["EnvironmentsRepositoryUri"],
            image_builder="codebuild" if "ImageBuilderProject" in outputs else "none",
            image_builder_project=outputs.get("ImageBuilderProject"),
            docker_hub_prefix=outputs.get("DockerHubPrefix"),
            isolation="security-group" if "IsolatedSecurityGroupId" in outputs else "none",
            cluster_name=outputs.get("ClusterName"),
        )
    except KeyError as error:
        raise missing_output(name, error) from None


def missing_output(name: str, error: KeyError) -> UsageError:
    """What to raise for a stack that lacks an output."""
    return UsageError(
        f"The stack {name!r} has no output {error}: another version of harbor-aws deployed it. "
        f"`harbor-aws deploy --stack {name}` brings it up to date."
    )


def _cluster(region: str, outputs: Mapping[str, str]) -> EksCluster | None:
    """The stack's cluster; an emulated one has none."""
    if "ClusterName" not in outputs:
        return None
    return EksCluster(
        name=outputs["ClusterName"],
        region=region,
        endpoint=outputs["ClusterEndpoint"],
        certificate_authority=outputs["ClusterCertificateAuthority"],
    )
