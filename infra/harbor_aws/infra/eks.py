"""The token by which EKS knows whoever has credentials of AWS: a request to STS, signed and not sent.

As ``aws eks get-token`` makes it:
https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING

from harbor_aws.infra.aws import presigned_identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.stack import EksCluster

TOKEN_SECONDS = 14 * 60
"""For how long a token is used; the cluster takes it for 15 minutes from its signature on."""

_SIGNATURE_SECONDS = 60
"""Validity that the URL itself states; the cluster's authenticator refuses one that states more than 15 minutes."""

_PREFIX = "k8s-aws-v1."


class EksToken:
    """This process's token for one cluster, made anew before it runs out.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, cluster: EksCluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._token: str | None = None
        self._made_at = 0.0

    async def current(self) -> str:
        """The token. Raises what botocore raises when there are no credentials, or none that can be renewed."""
        if self._token is None or self._clock() - self._made_at >= TOKEN_SECONDS:
            made_at = self._clock()
            self._token = await asyncio.to_thread(make_token, self._cluster)
            self._made_at = made_at
        return self._token


def make_token(cluster: EksCluster) -> str:
    """A new token. Blocking."""
    url = presigned_identity(region=cluster.region, cluster=cluster.name, valid_seconds=_SIGNATURE_SECONDS)
    return _PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
