"""What an environment stands on when Harbor itself runs it: ``harbor run -e harbor_aws.worker.environment:…``."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import load_stack
from harbor_aws.worker.attempt import Attempt
from harbor_aws.worker.pods import PodKeeper
from harbor_aws.worker.presence import PresenceTerms, keep_presence, process_name

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack

JOB = "harbor-run"
"""The job's name in the labels of such pods: Harbor does not tell an environment its job."""


@dataclass(slots=True)
class _Shared:
    """One event loop's keeper, and how many environments use it."""

    resources: AsyncExitStack
    stack: Stack
    settings: Settings
    pods: PodKeeper
    users: int = 0


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()
_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def join(session: str) -> Attempt:
    """An attempt of its own for an environment; all environments of a loop share one keeper.

    Raises:
        UsageError: there is no stack, or its cluster cannot be reached.
    """
    loop = asyncio.get_running_loop()
    async with _locks.setdefault(loop, asyncio.Lock()):
        if loop not in _shared:
            _shared[loop] = await _open()
        shared = _shared[loop]
        shared.users += 1
    return Attempt(
        stack=shared.stack,
        settings=shared.settings,
        pods=shared.pods,
        worker=shared.pods.worker,
        job=JOB,
        trial=session.split("__env")[0].split("__verifier")[0],
        number=1,
        attempt_id=uuid.uuid4().hex,
    )


async def leave() -> None:
    """An environment is done; the last one closes the keeper."""
    loop = asyncio.get_running_loop()
    async with _locks.setdefault(loop, asyncio.Lock()):
        shared = _shared[loop]
        shared.users -= 1
        if not shared.users:
            del _shared[loop]
            await shared.resources.aclose()


async def _open() -> _Shared:
    settings = Settings()
    stack = await asyncio.to_thread(load_stack, settings.stack)
    async with AsyncExitStack() as resources:
        worker, terms = process_name(), PresenceTerms.of(settings)
        pods = await resources.enter_async_context(PodKeeper.open(stack.trials, worker=worker))
        present = keep_presence(pods.cluster, stack=stack.name, worker=worker, terms=terms)
        await resources.enter_async_context(present)
        return _Shared(resources=resources.pop_all(), stack=stack, settings=settings, pods=pods)
