"""What a deploy asks of the account that it goes to. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from harbor_aws.infra.aws import quotas_client, sts_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.infra.fargate import FARGATE_SERVICE, VCPUS_QUOTA

if TYPE_CHECKING:
    from harbor_aws.infra.aws import Account

_UNKNOWN = "NoSuchResourceException"


def fargate_vcpus(account: Account) -> float | None:
    """The vCPUs that Fargate gives the account at once in its region; ``None`` if that cannot be learnt.

    Raises:
        CredentialsError: there are none of AWS, or AWS does not take them.
    """
    try:
        with translated("tell Fargate's quota"):
            client = quotas_client(account)
            try:
                answer = client.get_service_quota(ServiceCode=FARGATE_SERVICE, QuotaCode=VCPUS_QUOTA)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != _UNKNOWN:
                    raise
                # An account that never asked for more may have no value of its own:
                # https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html
                default = client.get_aws_default_service_quota(ServiceCode=FARGATE_SERVICE, QuotaCode=VCPUS_QUOTA)
                return default["Quota"]["Value"]
            return answer["Quota"]["Value"]
    except (PermanentError, TransientError):
        return None


def caller_arn(account: Account) -> str:
    """Who deploys, as STS has it: of an assumed role the session."""
    with translated("say who this is"):
        return sts_client(account).get_caller_identity()["Arn"]
