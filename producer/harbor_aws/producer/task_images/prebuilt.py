"""Images that somebody else has to have built, where the stack builds none. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.registry import missing_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.task_images.source import ImageSource

_IMAGES_NAMED = 20


def require_built(stack: Stack, images: Mapping[str, ImageSource]) -> None:
    """Refuse images that the stack's repository, which is one of ECR, has not got: their trials would all die.

    Args:
        images: by Harbor's hash of their content, which is their tag.

    Raises:
        UsageError: some are not there; each is named, with its tasks, up to :data:`_IMAGES_NAMED`.
        TransientError, PermanentError: AWS does not answer, or refuses.
    """
    missing = sorted(missing_tags(stack.image_repository, images))
    if not missing:
        return
    lines = [
        f"Nothing was enqueued: of {len(images)} image(s) {len(missing)} are not in {stack.image_repository}, and "
        f"the stack {stack.name!r} builds none.",
        *(f"  {tag}: {images[tag]}" for tag in missing[:_IMAGES_NAMED]),
    ]
    if more := missing[_IMAGES_NAMED:]:
        lines.append(f"  and {len(more)} more")
    lines.append(f"→ `harbor-aws deploy --stack {stack.name}` gives it a builder; or push them under these tags.")
    raise UsageError("\n".join(lines))
