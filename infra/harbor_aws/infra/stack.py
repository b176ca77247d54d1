"""A stack's outputs: all that a process must know to reach queue, bucket and cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from harbor_aws.infra.errors import UsageError

type Isolation = Literal["none", "security-group", "namespace"]
"""What keeps a pod that is to have no network from having one: nothing; a security group, and subnets without a way
out; or a network namespace of its own."""


class EksCluster(BaseModel):
    """An EKS cluster's API, to whom AWS's own credentials are the way in."""

    model_config = ConfigDict(frozen=True)

    name: str
    region: str
    endpoint: str
    """URL of the API server."""
    certificate_authority: str
    """Who signed the server's certificate: PEM in base64, as EKS says it."""


class KubernetesAccess(BaseModel):
    """How to reach a cluster's API, and where in it to work."""

    model_config = ConfigDict(frozen=True)

    kubeconfig: Path | None = None
    """A kubeconfig file."""

    eks: EksCluster | None = None
    """A cluster that is reached without one. With neither it is the one of the pod that the process runs in, by its
    service account."""

    context: str | None = None
    """The kubeconfig's context; ``None`` means its current one."""

    namespace: str = "harbor-aws"
    """Namespace of the trials' pods and of the workers' Deployment."""


class Stack(BaseModel):
    """Outputs of a deployed stack, CloudFormation's or the local one's."""

    model_config = ConfigDict(frozen=True)

    name: str
    region: str
    queue_url: str
    dead_letter_queue_url: str
    bucket: str
    endpoint_url: str | None = None
    """Where SQS and S3 are, when not at AWS."""

    trials: KubernetesAccess = KubernetesAccess()
    """The cluster that the trials' pods run in."""

    workers: KubernetesAccess = KubernetesAccess()
    """The cluster that holds the workers' Deployment, ``harbor-aws-worker``."""

    image_repository: str = "harbor-aws/environments"
    """Built images are ``<image_repository>:<content hash of the task's environment>``."""

    image_builder: Literal["embedded", "codebuild", "none"] = "none"
    """Who builds a task's Dockerfile: the embedded Kubernetes, CodeBuild, or nobody (the image must exist)."""

    image_builder_project: str | None = None
    """CodeBuild's project, where that builds."""

    docker_hub_prefix: str | None = None
    """What comes before the name of an image of Docker Hub to pull it through ECR's cache, ``<registry>/<prefix>``."""

    isolation: Isolation = "none"
    """What enforces ``no-network``."""

    cluster_name: str | None = None
    """The EKS cluster, of the stack's region, that both namespaces are in."""


WORKER_DEPLOYMENT = "harbor-aws-worker"
LOCAL_STACK = "local"


def state_directory() -> Path:
    """The directory of everything that outlives a command on this machine."""
    return platformdirs.user_state_path("harbor-aws")


def stack_file(name: str, *, directory: Path | None = None) -> Path:
    """The file that holds the outputs of the stack ``name``."""
    return (directory or state_directory()) / name / "stack.json"


def load_stack(name: str) -> Stack:
    """The outputs of the stack ``name``: from its file on this machine if there is one, else from CloudFormation.

    Raises:
        UsageError: there is no such stack, its file cannot be read, or AWS cannot be asked.
    """
    path = stack_file(name)
    try:
        return Stack.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(f"{path} is not a stack's outputs: {error}") from error
    except FileNotFoundError:
        pass
    if name == LOCAL_STACK:
        raise UsageError(f"There is no stack {name!r} on this machine; start it with `harbor-aws local up`.")
    from harbor_aws.infra.deploy.outputs import deployed_stack  # it builds on this module, and takes long to load

    return deployed_stack(name)
