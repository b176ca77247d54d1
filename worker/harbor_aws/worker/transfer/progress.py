"""How long a transfer waits for the pod."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STALL_SECONDS = 120.0
"""How long the pod may neither take nor give a byte."""

PACK_SECONDS = 600.0
"""How long the pod may take to stage what it then gives, or to put away what it has received."""


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Bounds one wait for the pod.

    Raises:
        TransferError: it took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TransferError(f"{what}: nothing came of it for {seconds:.0f} s.") from error
