"""What a list or watch asks for, read from its query."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from harbor_aws.infra.local.kubernetes.objects.api_errors import bad_request
from harbor_aws.infra.local.kubernetes.objects.selectors import object_match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.local.kubernetes.objects.resources import Resource
    from harbor_aws.infra.local.kubernetes.objects.selectors import ObjectMatch


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where the next page of a list begins."""

    version: int
    """The resource version of the first page, which is that of the whole list."""
    after: tuple[str, str]

    def token(self) -> str:
        text = json.dumps({"v": "meta.k8s.io/v1", "rv": self.version, "start": self.after})
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def read(cls, token: str) -> Self:
        """Raises: ApiError: 400."""
        try:
            content = json.loads(base64.urlsafe_b64decode(token))
            namespace, name = content["start"]
            return cls(int(content["rv"]), (namespace, name))
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise bad_request(f"continue key is not valid: {error}") from error


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query of a list or watch."""

    match: ObjectMatch | None
    watch: bool
    version: int | None
    """``None``: whatever is newest."""
    exact: bool
    limit: int | None
    continuation: Continuation | None
    bookmarks: bool
    initial_events: bool | None
    timeout_seconds: float | None
    include_object: str
    """What the rows of a table carry."""

    @classmethod
    def read(cls, query: Mapping[str, str], resource: Resource) -> Self:
        """Raises: ApiError: 400."""
        version = _number(query, "resourceVersion")
        token = query.get("continue")
        return cls(
            match=object_match(query.get("labelSelector", ""), query.get("fieldSelector", ""), resource),
            watch=flag(query, "watch"),
            version=version or None,
            exact=query.get("resourceVersionMatch") == "Exact",
            limit=_number(query, "limit") or None,
            continuation=Continuation.read(token) if token else None,
            bookmarks=flag(query, "allowWatchBookmarks"),
            initial_events=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
            timeout_seconds=_number(query, "timeoutSeconds") or None,
            include_object=query.get("includeObject", "Metadata"),
        )


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query, as Kubernetes reads it: present and not false."""
    return query.get(name, "false").lower() not in {"false", "0"}


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a number')
    return int(text)
