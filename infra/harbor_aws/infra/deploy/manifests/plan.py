"""What the manifests are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.deploy.outputs import missing_output
from harbor_aws.infra.fargate import LAUNCHES_PER_SECOND
from harbor_aws.infra.labels import stack_labels
from harbor_aws.infra.stack import KubernetesAccess
from harbor_aws.infra.worker_image.context import worker_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.stack import Stack

DRAIN_SECONDS = 600
"""How long a deployed worker that is told to end lets its trials go on. Longer than elsewhere: Fargate's patches come
unasked, and a trial that is handed back begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """A stack, and what its template's outputs say beyond that."""

    stack: Stack
    worker_image: str
    worker_role_arn: str
    """The IAM role of the workers' service account."""
    trials_security_group: str
    log_group: str
    """Where the pods' output goes."""
    max_vcpus: int
    """vCPUs of trials at once."""
    launches_per_second: int = LAUNCHES_PER_SECOND
    """Pods that workers launch a second, and at once after a pause."""
    account_vcpus: float | None = None
    """What Fargate gives the account at once, in vCPUs; ``None`` if nobody knows."""
    isolated_security_group: str | None = None
    """Of pods without a network; ``None`` for a stack that cannot keep them from it."""
    keda_role_arn: str | None = None
    """The IAM role of KEDA's service account; ``None`` for a stack without autoscaling."""
    drain_seconds: int = DRAIN_SECONDS

    @property
    def labels(self) -> dict[str, str]:
        """Of every object."""
        return stack_labels(self.stack.name)

    @property
    def trials_namespace(self) -> str:
        return self.stack.trials.namespace

    @property
    def workers_namespace(self) -> str:
        return self.stack.workers.namespace

    @property
    def workers_stack(self) -> Stack:
        """The stack as a worker has it, who reaches the cluster by its service account."""
        return self.stack.model_copy(
            update={
                "trials": KubernetesAccess(namespace=self.trials_namespace),
                "workers": KubernetesAccess(namespace=self.workers_namespace),
            }
        )


def plan_from_outputs(stack: Stack, outputs: Mapping[str, str]) -> ClusterPlan:
    """What the template's outputs say.

    Raises:
        UsageError: some are missing: another version deployed the stack.
    """
    try:
        return ClusterPlan(
            stack=stack,
            worker_image=worker_image(stack.name, outputs),
            worker_role_arn=outputs["WorkerRoleArn"],
            trials_security_group=outputs["TrialsSecurityGroupId"],
            log_group=outputs["PodsLogGroupName"],
            max_vcpus=int(outputs["MaxVcpus"]),
            launches_per_second=int(outputs.get("LaunchesPerSecond", LAUNCHES_PER_SECOND)),
            isolated_security_group=outputs.get("IsolatedSecurityGroupId"),
            keda_role_arn=outputs.get("KedaRoleArn"),
        )
    except KeyError as error:
        raise missing_output(stack.name, error) from None


def worker_image(stack: str, outputs: Mapping[str, str]) -> str:
    """The image of a stack's workers: the user's own, else that of this very harbor-aws in the stack's repository.

    Raises:
        UsageError: the outputs say no repository: another version deployed the stack.
    """
    if "WorkerImage" in outputs:
        return outputs["WorkerImage"]
    try:
        return f"{outputs['WorkerRepositoryUri']}:{worker_context().tag}"
    except KeyError as error:
        raise missing_output(stack, error) from None
