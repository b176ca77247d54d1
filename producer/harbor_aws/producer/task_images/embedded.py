"""Images that the embedded Kubernetes builds."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.images import build_image
from harbor_aws.producer.task_images.source import not_built

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.task_images.source import ImageSource

_BUILDS_AT_ONCE = 2
_LOG_PIECES = 200
_LOG_LINES = 15
"""What is shown of the log of a build that failed."""


async def build_images(stack: Stack, images: Mapping[str, ImageSource], *, advance: Callable[[], None]) -> None:
    """Build every image that does not exist yet.

    Args:
        advance: called each time one more is done.

    Raises:
        ImageBuildError: some builds failed; all of them are named.
    """
    slots = asyncio.Semaphore(_BUILDS_AT_ONCE)

    async def build(content_hash: str, source: ImageSource) -> str | None:
        log: deque[str] = deque(maxlen=_LOG_PIECES)
        image = f"{stack.image_repository}:{content_hash}"
        async with slots:
            try:
                await build_image(stack.trials, image=image, context=source.directory, on_log=log.append)
            except HarborAwsError as error:
                return "\n".join([f"{source} ({source.directory}): {error}", *_tail("".join(log))])
            finally:
                advance()
        return None

    outcomes = await asyncio.gather(*(build(content_hash, source) for content_hash, source in images.items()))
    if failures := [outcome for outcome in outcomes if outcome]:
        raise not_built(failures, total=len(images))


def _tail(log: str) -> list[str]:
    return [f"  | {line}" for line in log.splitlines()[-_LOG_LINES:]]
