"""Images that CodeBuild builds into the stack's repository, each once for its content. Blocking."""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harbor_aws.infra.aws import Account
from harbor_aws.infra.builds.builder import Builder, ended
from harbor_aws.infra.builds.failure import failure
from harbor_aws.infra.builds.logs import BuildLogs
from harbor_aws.infra.builds.many import build_all
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.layout import environment_context_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.registry import missing_tags
from harbor_aws.producer.task_images.context import write_context
from harbor_aws.producer.task_images.source import InterruptedBuildsError, not_built

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor_aws.infra.builds.build import Build
    from harbor_aws.infra.builds.many import Builds
    from harbor_aws.infra.stack import Stack
    from harbor_aws.producer.task_images.source import ImageSource

TAG = "TAG"
"""The variable of a build that says which image it is: the tag, and what its context is called."""

_UPLOADS_AT_ONCE = 4
_WITHOUT_A_MACHINE = frozenset({"SUBMITTED", "QUEUED"})


@dataclass(frozen=True, slots=True)
class BuildCounts:
    """How many images are where."""

    total: int
    unbegun: int
    """The account may have no more builds at once."""
    queued: int
    """They wait for a machine."""
    running: int
    ended: int


class BuildWatcher(Protocol):
    """Told what becomes of the images, as it happens."""

    def began(self, *, missing: int, total: int) -> None:
        """So many of the job's images are not there and are built."""
        ...

    def progressed(self, counts: BuildCounts) -> None:
        """Called after every look."""
        ...

    def ended(self, image: ImageSource, build: Build) -> None:
        """The build of an image has ended, well or not. Called once for each."""
        ...


def build_missing(stack: Stack, images: Mapping[str, ImageSource], *, watcher: BuildWatcher) -> int:
    """Have every image built that the repository lacks; how many those were.

    A build that somebody else began is waited for. An image that is there when its build has failed is as good: of two
    builds of one content the slower fails, since no tag is ever moved.

    Args:
        images: by Harbor's hash of their content, which is their tag.

    Raises:
        ImageBuildError: some could not be built; each is named, with its tasks and the end of its log.
        InterruptedBuildsError: Ctrl-C; the builds go on.
        BuildLimitError: the account may have no build now, or none at all.
        UsageError: a file of an environment cannot be read, or AWS takes no credentials.
        TransientError, PermanentError: AWS does not answer, or refuses.
    """
    tags = missing_tags(stack.image_repository, images)
    if not tags:
        return 0
    builder, project = Builder.of(Account(stack.region)), _project(stack)
    over = ended(builder.recent(project))
    tags = missing_tags(stack.image_repository, tags)  # what those have built is there
    if not tags:
        return 0
    missing = {tag: images[tag] for tag in sorted(tags)}
    watcher.began(missing=len(missing), total=len(images))
    _upload_contexts(ObjectStore.of(stack), missing)
    look, wanted = _Look(list(missing.values()), watcher), [{TAG: tag} for tag in missing]
    try:
        builds = dict(zip(missing, build_all(builder, project, wanted, over=over, on_look=look.tell), strict=True))
    except KeyboardInterrupt as interrupt:
        raise InterruptedBuildsError(
            "Nothing was enqueued. CodeBuild goes on with the images that it has begun; the same command takes them up."
        ) from interrupt
    _check(stack, missing, builds)
    return len(missing)


def _check(stack: Stack, missing: Mapping[str, ImageSource], builds: Mapping[str, Build]) -> None:
    """Raise :class:`ImageBuildError` unless all are there now."""
    still_missing = missing_tags(stack.image_repository, missing)
    if still_missing:
        account = Account(stack.region)
        raise not_built(
            (_why(builds[tag], missing[tag], BuildLogs.of(account)) for tag in sorted(still_missing)),
            total=len(missing),
        )


def _project(stack: Stack) -> str:
    if stack.image_builder_project is None:
        raise UsageError(f"The stack {stack.name!r} does not say which project of CodeBuild builds its images.")
    return stack.image_builder_project


def _upload_contexts(store: ObjectStore, images: Mapping[str, ImageSource]) -> None:
    """Those that the bucket lacks."""

    def upload(tag: str, source: ImageSource) -> None:
        key, archive = environment_context_key(tag), Path(directory) / tag
        if store.exists(key):
            return
        try:
            write_context(source.directory, archive)
        except OSError as error:
            raise UsageError(f"{source}: the environment {source.directory} cannot be read: {error}") from error
        store.upload(key, archive)
        archive.unlink()

    with (
        tempfile.TemporaryDirectory(prefix="harbor-aws-contexts-") as directory,
        ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool,
    ):
        for done in [pool.submit(upload, tag, source) for tag, source in images.items()]:
            done.result()


class _Look:
    """Tells the watcher what is new."""

    def __init__(self, images: Sequence[ImageSource], watcher: BuildWatcher) -> None:
        self._images = images
        self._watcher = watcher
        self._told: set[int] = set()

    def tell(self, builds: Builds) -> None:
        for index, (image, build) in enumerate(zip(self._images, builds.begun, strict=True)):
            if build is not None and build.has_ended and index not in self._told:
                self._told.add(index)
                self._watcher.ended(image, build)
        where = Counter(map(_place, builds.begun))
        self._watcher.progressed(BuildCounts(total=len(self._images), **{each: where[each] for each in _PLACES}))


_PLACES = ("unbegun", "queued", "running", "ended")


def _place(build: Build | None) -> str:
    if build is None:
        return "unbegun"
    if build.has_ended:
        return "ended"
    return "queued" if build.phase in _WITHOUT_A_MACHINE else "running"


def _why(build: Build, source: ImageSource, logs: BuildLogs) -> str:
    """Why the image is not there although its build has ended."""
    if build.has_succeeded:
        return f"{source}: its image was built, and then deleted by somebody. Run the command again."
    return f"{source}: {failure(build, what='its image', log=logs.tail(build))}"
