"""What images are built from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_TASKS_NAMED = 3


class ImageBuildError(HarborAwsError):
    """The images of some environments could not be built; nothing was enqueued."""


class InterruptedBuildsError(HarborAwsError):
    """Ctrl-C: builds go on, and nothing was enqueued."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An environment whose image is built from its Dockerfile."""

    directory: Path
    """The build's context; of tasks that share an image, one's."""
    tasks: tuple[str, ...]
    """Those whose trials run in it."""

    def __str__(self) -> str:
        """The tasks, as far as they go into a line."""
        named, others = self.tasks[:_TASKS_NAMED], len(self.tasks) - _TASKS_NAMED
        return ", ".join(named) + (f" and {others} more" if others > 0 else "")


def not_built(failures: Iterable[str], *, total: int) -> ImageBuildError:
    """The error for images that could not be built, each with its own words."""
    said = list(failures)
    return ImageBuildError("\n".join([f"Nothing was enqueued: {len(said)} of {total} image(s) were not built.", *said]))
