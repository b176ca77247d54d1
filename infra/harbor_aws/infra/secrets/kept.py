"""Where a stack keeps its workers' secrets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.local.stack import secrets_directory
from harbor_aws.infra.secrets.files import DirectorySecrets
from harbor_aws.infra.secrets.kubernetes import KubernetesSecrets
from harbor_aws.infra.stack import LOCAL_STACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.infra.stack import Stack


@asynccontextmanager
async def open_secrets(stack: Stack) -> AsyncIterator[DirectorySecrets | KubernetesSecrets]:
    """The stack's secrets. The local one's Kubernetes keeps none: its workers read files of this machine.

    Raises:
        HarborAwsError: the cluster cannot be asked, or refuses.
    """
    if stack.name == LOCAL_STACK:
        yield DirectorySecrets(secrets_directory())
    else:
        async with Cluster.open(stack.workers) as cluster:
            yield KubernetesSecrets(cluster)
