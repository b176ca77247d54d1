"""The door to S3. Blocking: an asyncio caller goes through ``asyncio.to_thread``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from harbor_aws.infra.aws import TransferManagerError, s3_client
from harbor_aws.infra.errors import InfrastructureError, PermanentError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import TagTypeDef

    from harbor_aws.infra.stack import Stack

EXPIRING: TagTypeDef = {"Key": "harbor-aws", "Value": "expires"}
"""The tag of what nobody will want for long: an attempt that lost to another, or was given up."""

_MISSING = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"412", "PreconditionFailed"}
_CONFLICT = "ConditionalRequestConflict"
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"}


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One row of a listing."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes with the content, so it tells what is new."""
    modified: datetime
    """When it was last written (UTC)."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """An object's content, and what tells it from what it was before."""

    body: bytes
    etag: str


class ObjectMissingError(PermanentError):
    """There is no such object."""


class ObjectStore:
    """The stack's bucket.

    Every method raises :class:`TransientError` when S3 did not answer or asks to come again (after botocore's own
    retries), and :class:`PermanentError` when it refuses.
    """

    def __init__(self, client: S3Client, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @classmethod
    def of(cls, stack: Stack, *, connections: int = 50) -> Self:
        return cls(s3_client(stack, connections=connections), bucket=stack.bucket)

    def get(self, key: str) -> bytes | None:
        """The object's content, or ``None`` if there is none."""
        found = self.get_version(key)
        return found.body if found else None

    def get_version(self, key: str) -> ObjectVersion | None:
        """The object as it is now, or ``None`` if there is none."""
        try:
            with self._translated(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                return ObjectVersion(answer["Body"].read(), answer["ETag"])
        except ObjectMissingError:
            return None

    def put(self, key: str, body: bytes) -> None:
        with self._translated(key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def put_if_absent(self, key: str, body: bytes) -> bool:
        """Write an object unless there is one: ``True`` if the object is now ours; see :meth:`put_if_unchanged`."""
        return self.put_if_unchanged(key, body, etag=None) is not None

    def put_if_unchanged(self, key: str, body: bytes, *, etag: str | None) -> str | None:
        """Write an object if it is still the version that is known: the new one's ETag, or ``None`` if it is not.

        A PUT whose answer was lost is retried by botocore and then finds its own object; it is told apart from
        somebody else's by the content.

        Args:
            etag: of the version that is known; ``None`` if there was none.
        """
        place = f"s3://{self._bucket}/{key}"
        try:
            return _conflicts_retried()(self._put_on_condition, key, body, etag)
        except ClientError as error:
            if _code(error) not in _TAKEN | _MISSING:  # a version that is expected, and deleted, is missing
                raise _translate(error, place) from error
            found = self.get_version(key)
            return found.etag if found and found.body == body else None
        except BotoCoreError as error:
            raise TransientError(f"S3 did not answer for {place}: {error}") from error

    def _put_on_condition(self, key: str, body: bytes, etag: str | None) -> str:
        if etag is None:
            return self._client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*")["ETag"]
        return self._client.put_object(Bucket=self._bucket, Key=key, Body=body, IfMatch=etag)["ETag"]

    def exists(self, key: str) -> bool:
        try:
            with self._translated(key):
                self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissingError:
            return False
        return True

    def upload(self, key: str, path: Path) -> None:
        """Upload a file of any size, in parts when it is large; parts of an upload that fails are removed.

        Not so those of a process that is killed: the bucket's life-cycle rule AbortIncompleteMultipartUpload does that.
        """
        with self._translated(key):
            self._client.upload_file(str(path), self._bucket, key)

    def expire(self, key: str) -> None:
        """Mark an object for the bucket's life-cycle rule, which removes what has :data:`EXPIRING` some weeks later.

        Raises:
            ObjectMissingError: there is no such object.
        """
        with self._translated(key):
            self._client.put_object_tagging(Bucket=self._bucket, Key=key, Tagging={"TagSet": [EXPIRING]})

    def download(self, key: str, path: Path) -> None:
        """Download an object of any size to ``path``.

        Raises:
            ObjectMissingError: there is no such object.
        """
        with self._translated(key):
            self._client.download_file(self._bucket, key, str(path))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below ``prefix``, one request per thousand."""
        with self._translated(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for row in page.get("Contents", []):
                    yield ObjectInfo(
                        key=row["Key"], size=row["Size"], etag=row["ETag"].strip('"'), modified=row["LastModified"]
                    )

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The names directly below ``prefix`` (which ends in ``/``) that have something below them."""
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                for row in page.get("CommonPrefixes", []):
                    yield row["Prefix"].removeprefix(prefix).rstrip("/")

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        place = f"s3://{self._bucket}/{key}"
        try:
            yield
        except ClientError as error:
            raise _translate(error, place) from error
        except TransferManagerError as error:  # the transfer manager's, around what went wrong
            inner = error.__cause__ or error.__context__
            if isinstance(inner, ClientError):
                raise _translate(inner, place) from error
            raise TransientError(f"S3 did not answer for {place}: {error}") from error
        except BotoCoreError as error:
            raise TransientError(f"S3 did not answer for {place}: {error}") from error


def _conflicts_retried() -> Retrying:
    """What S3 says while another write on a condition is under way, perhaps one's own that was given up."""
    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, ClientError) and _code(error) == _CONFLICT),
        stop=stop_after_attempt(4),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        reraise=True,
    )


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _translate(error: ClientError, place: str) -> InfrastructureError:
    code = _code(error)
    if code in _MISSING:
        return ObjectMissingError(f"There is no {place}.")
    if code in _REFUSED:
        return PermanentError(f"S3 refused {place}: {error}. Check the credentials and the bucket's policy.")
    return TransientError(f"S3 failed for {place}: {error}")
