"""botocore's errors, in whichever service, as ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from harbor_aws.infra.aws_advice import advice
from harbor_aws.infra.errors import PermanentError, TransientError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
"""How CloudFormation says that there is nothing to do; there is no code for it.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-changesets-view.html"""

_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
_REFUSED_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "AuthFailure",
    "InvalidSignatureException",
}
_TRANSIENT = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "InternalFailure", "ServiceUnavailable"}


class CredentialsError(UsageError):
    """There are no credentials of AWS, or AWS does not take them (any more)."""


class MissingStackError(PermanentError):
    """There is no such stack."""


class NoChangesError(PermanentError):
    """There is nothing to update."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns botocore's errors, in whichever service, into those of this module."""
    try:
        yield
    except _CREDENTIALS as error:
        why = str(error).rstrip(".")
        raise CredentialsError(f"AWS cannot be asked to {what}: {why}. Log in, or set AWS_PROFILE rightly.") from error
    except ClientError as error:
        raise _translate(error, what) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise TransientError(f"AWS did not answer when it was to {what}: {error}") from error


def _translate(error: ClientError, what: str) -> Exception:
    details = error.response.get("Error", {})
    code, message = details.get("Code", ""), details.get("Message", "")
    if code in _REFUSED_CREDENTIALS:
        return CredentialsError(
            f"AWS does not take the credentials ({code}: {message}). Log in again; what CloudFormation does goes on."
        )
    if code == "ValidationError" and "does not exist" in message:
        return MissingStackError(message)
    if code == "ValidationError" and any(words in message for words in NO_CHANGES):
        return NoChangesError(message)
    if code in _TRANSIENT or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return TransientError(f"AWS failed to {what}: {error}")
    hint = advice(str(error))
    return PermanentError(f"AWS refused to {what}: {error}" + (f" → {hint}" if hint else ""))
