"""The images that this process had built, so that each is asked for once and not once a trial."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransientError, UsageError
from harbor_aws.infra.images import build_image

if TYPE_CHECKING:
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess


class ImageBuilds:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._built: set[str] = set()
        self._building: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, access: KubernetesAccess, *, image: str, context: Path) -> None:
        """Have an image built from the Dockerfile in ``context``, unless that was done.

        Args:
            image: named by the content of ``context``, so that the name alone tells whether it is the same.

        Raises:
            PermanentError: it cannot be built.
            TransientError: the builder did not answer, or this machine's files failed it.
        """
        async with self._building[image]:
            if image not in self._built:
                try:
                    await build_image(access, image=image, context=context)
                except (OSError, UsageError) as error:  # the kubeconfig could be read when the worker began
                    raise TransientError(f"The image {image} could not be asked for: {error}") from error
                self._built.add(image)
