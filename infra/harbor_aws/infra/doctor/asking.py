"""Asking AWS and Kubernetes: blocking calls that are given up in time, and errors by what they say of the stack."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.errors import HarborAwsError, PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.cluster import Cluster

Json = dict[str, Any]

KUBERNETES_PATIENCE_SECONDS = 2.0
"""How long a request to the cluster is tried again, within a look's own time."""

_REFUSED = {"403", "AccessDenied", "AccessDeniedException", "AccessDeniedFault", "UnauthorizedOperation"}

_MISSING = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "ImageNotFoundException",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchEntity",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchResourceException",
    "NotFoundException",
    "QueueDoesNotExist",
    "RepositoryNotFoundException",
    "ResourceNotFoundException",
    "ServerSideEncryptionConfigurationNotFoundError",
}


class MayNotAskError(HarborAwsError):
    """Whoever asks lacks the right to; it says nothing of the stack.

    Attributes:
        action: the right that is missing, as its own policy language has it.
    """

    def __init__(self, action: str) -> None:
        super().__init__(f"These credentials may not {action}.")
        self.action = action


class MissingError(PermanentError):
    """AWS has no such thing."""


async def ask[T](action: str, call: Callable[[], T]) -> T:
    """A blocking call of AWS's API, in a thread that nobody waits for when this is cancelled.

    Args:
        action: the IAM action that the call takes.

    Raises:
        MayNotAskError: AWS refuses the action.
        MissingError: what is asked about is not there.
        PermanentError, TransientError: AWS says anything else, or nothing.
    """
    try:
        return await in_background(call)
    except ClientError as error:
        code, text = _code(error), _message(error)
        if code in _REFUSED:
            raise MayNotAskError(action) from error
        if code in _MISSING:
            raise MissingError(f"{code}: {text}") from error
        raise PermanentError(f"{action}: {code}: {text}") from error
    except (BotoCoreError, ResponseParserError) as error:
        raise TransientError(f"{action}: {error}") from error


async def get(cluster: Cluster, path: str, *, query: Mapping[str, str] | None = None) -> Json:
    """GET from a cluster's API.

    Raises:
        MayNotAskError: the cluster knows who asks, and refuses.
        ObjectNotFoundError: there is no such object.
        InfrastructureError: it says anything else, or nothing.
    """
    return await request(cluster, "GET", path, query=query)


async def request(
    cluster: Cluster, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Json | None = None
) -> Json:
    """As :func:`get`, with any method."""
    try:
        return await cluster.request(method, path, query=query, body=body, patience_seconds=KUBERNETES_PATIENCE_SECONDS)
    except AccessRefusedError as error:
        if error.status == 401:
            raise
        raise MayNotAskError(f"{method} {path}") from error


async def in_background[T](call: Callable[[], T]) -> T:
    """What a blocking call returns or raises. The process does not wait for it to end, as it would for an executor's:
    a name server that does not answer holds a thread for half a minute."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():  # cancelled
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # there is one where there is no error

    def work() -> None:
        result, failure = None, None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
        with suppress(RuntimeError):  # the loop is closed: whoever asked has gone
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="harbor-aws-doctor", daemon=True).start()
    return await future


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _message(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Message", "")
