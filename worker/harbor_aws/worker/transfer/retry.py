"""Which transfers are done again."""

from __future__ import annotations

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from harbor_aws.infra.errors import ExecError, TransferError

retried = retry(
    retry=retry_if_exception_type((ExecError, TransferError)),
    stop=stop_after_attempt(3),
    wait=wait_exponential_jitter(multiplier=0.5, max=10),
    reraise=True,
)
"""A transfer that was cut or came out wrong is done again from the start: doing it twice does no harm."""
