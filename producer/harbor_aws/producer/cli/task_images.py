"""What ``enqueue`` shows of the images that it has built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor.cli.utils import run_async

from harbor_aws.infra.deploy.prices import BUILD_USD_PER_MINUTE
from harbor_aws.infra.registry import ecr_image
from harbor_aws.producer.cli.options import notes
from harbor_aws.producer.task_images.codebuild import build_missing
from harbor_aws.producer.task_images.embedded import build_images
from harbor_aws.producer.task_images.prebuilt import require_built

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress

    from harbor_aws.infra.builds.build import Build
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.task_images.codebuild import BuildCounts
    from harbor_aws.producer.task_images.source import ImageSource


def build_task_images(stack: Stack, images: Mapping[str, ImageSource], *, progress: Progress, quiet: bool) -> None:
    """Have the stack's builder build what is missing; where there is none, all must be there.

    Of a repository that cannot be asked that is only said, also to whoever wants no notes: it is about trials that die.

    Raises:
        ImageBuildError: some could not be built.
        UsageError: some are not there, and nothing builds them.
        InterruptedBuildsError: Ctrl-C.
    """
    if not images:
        return
    if stack.image_builder == "embedded":
        bar = progress.add_task("Building images", total=len(images))
        run_async(build_images(stack, images, advance=lambda: progress.advance(bar)))
    elif stack.image_builder == "codebuild":
        build_missing(stack, images, watcher=_Shown(progress, quiet=quiet))
    elif ecr_image(stack.image_repository):
        require_built(stack, images)
    else:
        notes.print(
            f"This stack builds no images: {len(images)} must be in {stack.image_repository} already, or their pods do "
            "not start.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


class _Shown:
    """A bar with how many builds wait and run, and a line for each that ends."""

    def __init__(self, progress: Progress, *, quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._bar = progress.add_task("Looking for images", total=None)

    def began(self, *, missing: int, total: int) -> None:
        self._progress.update(self._bar, description="Building images", total=missing)
        self._say(
            f"{missing} of {total} images are not there. CodeBuild builds them, "
            f"for ${BUILD_USD_PER_MINUTE} a minute each, once for all jobs."
        )

    def progressed(self, counts: BuildCounts) -> None:
        waiting = {"running": counts.running, "queued": counts.queued, "without room yet": counts.unbegun}
        said = ", ".join(f"{count} {where}" for where, count in waiting.items() if count)
        self._progress.update(
            self._bar, description="Building images" + (f": {said}" if said else ""), completed=counts.ended
        )

    def ended(self, image: ImageSource, build: Build) -> None:
        self._say(f"{'Built' if build.has_succeeded else 'Not built'}: the image of {image} ({build.id})")

    def _say(self, line: str) -> None:
        if not self._quiet:
            notes.print(line, highlight=False, markup=False, soft_wrap=True)
