"""What S3 makes of conditional writes, on a dictionary."""

from __future__ import annotations

from hashlib import md5

from harbor_aws.infra.objects import ObjectVersion


def version_of(objects: dict[str, bytes], key: str) -> ObjectVersion | None:
    """The object as it is now; S3's ETag of a small one is its content's MD5."""
    body = objects.get(key)
    return None if body is None else ObjectVersion(body, f'"{md5(body, usedforsecurity=False).hexdigest()}"')


def put_if_unchanged(objects: dict[str, bytes], key: str, body: bytes, *, etag: str | None) -> str | None:
    """As :meth:`~harbor_aws.infra.objects.ObjectStore.put_if_unchanged`."""
    there = version_of(objects, key)
    if (there and there.etag) == etag:
        objects[key] = body
    elif there is None or there.body != body:
        return None
    written = version_of(objects, key)
    return written.etag if written else None
