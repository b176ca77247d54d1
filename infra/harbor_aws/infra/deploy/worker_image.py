"""The workers' image: built by CodeBuild into the stack's repository, once for each content. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from harbor_aws.infra.builds.builder import Builder
from harbor_aws.infra.builds.failure import failure
from harbor_aws.infra.builds.follow import follow
from harbor_aws.infra.builds.logs import BuildLogs
from harbor_aws.infra.deploy.follow import InterruptedWatchError
from harbor_aws.infra.deploy.manifests.plan import worker_image
from harbor_aws.infra.deploy.outputs import missing_output
from harbor_aws.infra.deploy.prices import IMAGE_BUILD_MINUTES
from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.layout import worker_context_key
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.registry import ecr_image, ecr_image_exists
from harbor_aws.infra.worker_image.context import worker_context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harbor_aws.infra.aws import Account
    from harbor_aws.infra.builds.build import Build
    from harbor_aws.infra.deploy.follow import Watcher
    from harbor_aws.infra.errors import HarborAwsError
    from harbor_aws.infra.stack import Stack


@dataclass(frozen=True, slots=True)
class WorkerImage:
    """What a stack's workers run."""

    name: str
    """As the pods' ``image``."""
    is_new: bool
    """Whether it was built for this."""


class WorkerImages(Protocol):
    """Where a stack's workers get their image from."""

    def ensure(self, stack: Stack, outputs: Mapping[str, str], *, again: str) -> WorkerImage | None:
        """See to it that the image is there; ``None`` if the stack has no cluster.

        Args:
            again: the command that takes it up after Ctrl-C.
        """
        ...


class BuiltImages:
    """Built from the harbor-aws that runs, unless the user brought an image. A stack without a cluster needs none."""

    def __init__(self, account: Account, *, watcher: Watcher) -> None:
        self._account = account
        self._watcher = watcher

    def ensure(self, stack: Stack, outputs: Mapping[str, str], *, again: str) -> WorkerImage | None:
        """See to it that the image is there.

        Raises:
            BuildFailedError: it cannot be built; the message has the end of the build's log.
            BuildBrokenOffError: CodeBuild did not come to an end with it.
            BuildLimitError: the account may have no more builds at once.
            InterruptedWatchError: Ctrl-C; the build goes on.
            UsageError: another version deployed the stack, or AWS takes no credentials.
        """
        if stack.cluster_name is None:
            return None
        name = worker_image(stack.name, outputs)
        if "WorkerImage" in outputs or _is_there(name):
            return WorkerImage(name, is_new=False)
        build = self._build(stack, outputs, name=name, again=again)
        if not _is_there(name):  # asked also after a failure: another build may have been quicker, and no tag is moved
            raise self._why(build, name)
        return WorkerImage(name, is_new=True)

    def _build(self, stack: Stack, outputs: Mapping[str, str], *, name: str, again: str) -> Build:
        """The build as it ended."""
        context, builder = worker_context(), Builder.of(self._account)
        try:
            project = outputs["WorkerBuilderProject"]
        except KeyError as error:
            raise missing_output(stack.name, error) from None
        self._watcher.began(f"Building the workers' image {name} (CodeBuild, some {IMAGE_BUILD_MINUTES} minutes)")
        _upload(stack, digest=context.digest, archive=context.archive)
        ids = builder.begin(project, [{"DIGEST": context.digest, "TAG": context.tag}])
        try:
            (build,) = follow(builder, ids, on_look=self._tell)
        except KeyboardInterrupt as interrupt:
            raise InterruptedWatchError(
                f"Nobody watches any more, but CodeBuild goes on with the workers' image. `{again}` takes it up."
            ) from interrupt
        return build

    def _why(self, build: Build, name: str) -> HarborAwsError:
        """Why the image is not there although the build has ended."""
        if build.has_succeeded:
            return PermanentError(f"{name} was built, and then deleted by somebody. Run the command again.")
        return failure(build, what="the workers' image", log=BuildLogs.of(self._account).tail(build))

    def _tell(self, builds: Sequence[Build]) -> None:
        for build in builds:
            self._watcher.waits(f"Building the workers' image: {build.phase}{_age(build)}")


def _upload(stack: Stack, *, digest: str, archive: bytes) -> None:
    store, key = ObjectStore.of(stack), worker_context_key(digest)
    if not store.exists(key):
        store.put(key, archive)


def _is_there(name: str) -> bool:
    image = ecr_image(name)
    if image is None:
        raise PermanentError(f"The stack's repository of workers' images, {name}, is not one of ECR.")
    return ecr_image_exists(image)


def _age(build: Build) -> str:
    if build.phase_since is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - build.phase_since).total_seconds()))
    return f" for {seconds // 60} min {seconds % 60} s"
