"""The door to AWS Secrets Manager, for reading alone."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from harbor_aws.infra.aws import secretsmanager_client
from harbor_aws.infra.errors import HarborAwsError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from harbor_aws.infra.secrets.reference import SecretReference
    from harbor_aws.infra.stack import Stack

_ADVICE = {
    "ResourceNotFoundException": "make it in the stack's region, or correct the reference",
    "AccessDeniedException": "workers may read what is called <stack>/…; for another, give the role WorkerRoleArn of "
    "the stack's outputs secretsmanager:GetSecretValue in the secret's own policy, and kms:Decrypt if it has a key of "
    "its own",
    "DecryptionFailure": "let the workers' role decrypt with the secret's key",
    "InvalidRequestException": "it is being deleted; restore it, or correct the reference",
}
"""What to do, by the service's error.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html"""


class SecretUnavailableError(HarborAwsError):
    """A secret that is referred to cannot be had. The message has no value in it."""


class SecretsManager:
    """That of a stack's region, or of its emulator. Reads each secret once; blocks."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._texts: dict[str, str] = {}

    @cached_property
    def _client(self) -> SecretsManagerClient:
        return secretsmanager_client(self._stack)

    def read(self, reference: SecretReference) -> str:
        """The value.

        Raises:
            SecretUnavailableError: it cannot be read, or is not there.
        """
        if reference.secret not in self._texts:
            self._texts[reference.secret] = self._fetch(reference.secret)
        text = self._texts[reference.secret]
        return text if reference.key is None else _value_of(text, reference)

    def _fetch(self, secret: str) -> str:
        try:
            answer = self._client.get_secret_value(SecretId=secret)
        except ClientError as error:
            told = error.response["Error"]
            code = told.get("Code", "")
            advice = _ADVICE.get(code, "try again")
            raise SecretUnavailableError(f"{secret}: {code} ({told.get('Message', '')}). To do: {advice}.") from error
        except BotoCoreError as error:
            raise SecretUnavailableError(f"{secret}: Secrets Manager cannot be asked: {error}") from error
        if text := answer.get("SecretString"):
            return text
        raise SecretUnavailableError(f"{secret} holds no text. To do: store it as SecretString.")


def _value_of(text: str, reference: SecretReference) -> str:
    try:
        values = json.loads(text)
    except ValueError:
        values = None  # not chained: the error would quote the secret
    if not isinstance(values, dict):
        raise SecretUnavailableError(f"{reference.secret} is no JSON object. To do: leave out #{reference.key}.")
    value = values.get(str(reference.key))
    if not isinstance(value, str) or not value:
        raise SecretUnavailableError(f"{reference.secret} has no text under {reference.key!r}. To do: correct the key.")
    return value
