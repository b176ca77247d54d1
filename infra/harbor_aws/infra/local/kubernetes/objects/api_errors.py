"""Kubernetes' own errors: an HTTP code and a ``Status`` object.

The wording is Kubernetes', since clients and people match on it. See
https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of an object."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    @classmethod
    def required(cls, field: str) -> FieldError:
        return cls(field, "Required value", "FieldValueRequired")

    @classmethod
    def wrong(cls, field: str, value: object, why: str) -> FieldError:
        shown = f'"{value}"' if isinstance(value, str) else str(value)
        return cls(field, f"Invalid value: {shown}: {why}")


class ApiError(Exception):
    """An answer other than success."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({} if self.details is None else {"details": self.details}),
            "code": self.code,
        }


def not_found(resource: str, name: str, group: str = "") -> ApiError:
    kind = f"{resource}.{group}" if group else resource
    return ApiError(404, "NotFound", f'{kind} "{name}" not found', _details(name, resource, group))


def unknown_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: str, name: str, group: str = "") -> ApiError:
    kind = f"{resource}.{group}" if group else resource
    return ApiError(409, "AlreadyExists", f'{kind} "{name}" already exists', _details(name, resource, group))


def conflict(
    resource: str,
    name: str,
    group: str = "",
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> ApiError:
    kind = f"{resource}.{group}" if group else resource
    message = f'Operation cannot be fulfilled on {kind} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(name, resource, group))


def invalid(kind: str, name: str, errors: Sequence[FieldError], group: str = "") -> ApiError:
    texts = [f"{error.field}: {error.message}" for error in errors]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    causes = [{"reason": error.reason, "message": error.message, "field": error.field} for error in errors]
    details = {**_details(name, kind, group), "causes": causes}
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(resource: str, name: str, why: str) -> ApiError:
    return ApiError(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}', _details(name, resource, ""))


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(*accepted: str) -> ApiError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable() -> ApiError:
    message = "only the following media types are accepted: application/json"
    return ApiError(406, "NotAcceptable", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def internal_error(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def resource_version_too_large(asked: int, current: int) -> ApiError:
    """Kubernetes says this as a time-out of its wait for the version."""
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return ApiError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def _details(name: str, kind: str, group: str) -> dict[str, Any]:
    return {"name": name, **({"group": group} if group else {}), "kind": kind}
