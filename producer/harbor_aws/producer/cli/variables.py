"""Whether the workers have the variables that a job calls for; says what it could not find out."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.secrets.kept import open_secrets
from harbor_aws.infra.stack import LOCAL_STACK
from harbor_aws.producer.cli.options import notes

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack

_ASKING_SECONDS = 15.0


async def missing_variables(stack: Stack, names: frozenset[str]) -> frozenset[str]:
    """Those that neither the workers' secrets nor this shell have.

    What this shell alone has passes, with a note: workers may have a variable by another way, and who may enqueue need
    not be allowed to look at secrets.
    """
    kept = await _kept(stack)
    unsure = sorted(name for name in names - kept if name in os.environ)
    if unsure and stack.name != LOCAL_STACK:  # whose workers have the variables of the shell that started it
        notes.print(
            f"Not among the workers' secrets, but set in this shell: {', '.join(unsure)}. Trials fail unless workers "
            "have them: `harbor-aws secrets set NAME --from-env`.",
            highlight=False,
            soft_wrap=True,
        )
    return names - kept - os.environ.keys()


async def _kept(stack: Stack) -> frozenset[str]:
    try:
        async with asyncio.timeout(_ASKING_SECONDS), open_secrets(stack) as secrets:
            return frozenset(secret.name for secret in await secrets.list())
    except (HarborAwsError, TimeoutError) as error:
        why = str(error) or f"no answer within {_ASKING_SECONDS:.0f} s"
        notes.print(f"The workers' secrets could not be looked at: {why}", highlight=False, markup=False)
        return frozenset()
