"""What the checks look at: a stack, the clients of its account, the connections to its cluster."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from harbor_aws.infra import aws
from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.deploy.outputs import missing_output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_eks import EKSClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

    from harbor_aws.infra.doctor.check import Kind
    from harbor_aws.infra.stack import KubernetesAccess, Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked."""

    stack: str
    kind: Kind
    account: aws.Account | None
    """``None`` for a local stack."""
    concurrency: int | None = None
    """Trials that are to run at once; ``None``: as many as the stack lets."""
    probe: bool = False
    """Whether to make a pod to try with."""


@dataclass(slots=True)
class Subject:
    """Make it with :meth:`open`."""

    question: Question
    outputs: Mapping[str, str] = field(default_factory=dict)
    """CloudFormation's, once the check ``stack`` has found them; a local stack has none."""
    _stack: Stack | None = None
    _clients: dict[str, Any] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)
    _clusters: dict[str, Cluster] = field(default_factory=dict)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    @classmethod
    @asynccontextmanager
    async def open(cls, question: Question) -> AsyncIterator[Self]:
        """For the length of an ``async with``, which closes its connections."""
        subject = cls(question)
        async with subject._open:
            yield subject

    @property
    def kind(self) -> Kind:
        return self.question.kind

    @property
    def account(self) -> aws.Account:
        """Of a stack on AWS."""
        if self.question.account is None:
            raise LookupError("a local stack is in no account: this check is not for it")
        return self.question.account

    @property
    def stack(self) -> Stack:
        """What the check ``stack`` has found, on which all rest that use it."""
        if self._stack is None:
            raise LookupError("the check rests on `stack`, and must say so")
        return self._stack

    @stack.setter
    def stack(self, stack: Stack) -> None:
        self._stack = stack

    def output(self, name: str) -> str:
        """One of CloudFormation's outputs.

        Raises:
            UsageError: there is none: another version deployed the stack.
        """
        if name not in self.outputs:
            raise missing_output(self.question.stack, KeyError(name))
        return self.outputs[name]

    @property
    def option(self) -> str:
        """What another command is to be told, to mean the same stack."""
        return f" --stack {self.question.stack}"

    # boto3's clients may be used by any thread, but are made by one at a time.
    # https://boto3.amazonaws.com/v1/documentation/api/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions

    def sqs(self) -> SQSClient:
        return self._client("sqs", lambda: aws.sqs_client(self.stack))

    def s3(self) -> S3Client:
        return self._client("s3", lambda: aws.s3_client(self.stack))

    def sts(self) -> STSClient:
        return self._client("sts", lambda: aws.sts_client(self.account))

    def eks(self) -> EKSClient:
        return self._client("eks", lambda: aws.eks_client(self.account))

    def ecr(self) -> ECRClient:
        return self._client("ecr", lambda: aws.ecr_client(self.account))

    def iam(self) -> IAMClient:
        return self._client("iam", lambda: aws.iam_client(self.account))

    def quotas(self) -> ServiceQuotasClient:
        return self._client("quotas", lambda: aws.quotas_client(self.account))

    def cloudwatch(self) -> CloudWatchClient:
        return self._client("cloudwatch", lambda: aws.cloudwatch_client(self.account))

    async def workers(self) -> Cluster:
        """The cluster that the workers are in. Raises as :meth:`Cluster.open` does."""
        return await self._cluster("workers", self.stack.workers)

    async def trials(self) -> Cluster:
        """The cluster that the trials' pods are in. Raises as :meth:`Cluster.open` does."""
        return await self._cluster("trials", self.stack.trials)

    def _client[C](self, name: str, make: Callable[[], C]) -> C:
        with self._making:
            if name not in self._clients:
                self._clients[name] = make()
            client: C = self._clients[name]
            return client

    async def _cluster(self, name: str, access: KubernetesAccess) -> Cluster:
        async with self._opening:
            if name not in self._clusters:
                self._clusters[name] = await self._open.enter_async_context(Cluster.open(access))
            return self._clusters[name]
