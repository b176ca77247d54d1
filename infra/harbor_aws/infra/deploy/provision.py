"""Bringing a stack to what was asked for, from whatever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.deploy.follow import follow, newest_event
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.parameters import BUDGET, asked_for, check_name, parameters
from harbor_aws.infra.deploy.steps import Step, next_step
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.errors import PermanentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.deploy.cluster_objects import ClusterObjects
    from harbor_aws.infra.deploy.follow import Watcher
    from harbor_aws.infra.deploy.parameters import StackOptions
    from harbor_aws.infra.deploy.stacks import Change, StackDescription, Stacks
    from harbor_aws.infra.deploy.worker_image import WorkerImage, WorkerImages
    from harbor_aws.infra.stack import Stack

_MOST_STEPS = 6
"""More than these, and somebody else is changing the stack at the same time."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What came of it."""

    stack: Stack
    outputs: Mapping[str, str]
    changes: tuple[Change, ...] | None
    """What was done to resources; ``None`` if the stack was as it should be."""
    worker_image: WorkerImage | None
    """What the workers run; ``None`` without a cluster."""


class Provisioner:
    """Deploys one stack.

    Args:
        zones: names two zones for a new stack.
        caller: the ARN of who deploys.
        s3_prefix_list: names the region's prefix list of S3.
        agree: asked before anything is changed, with what an update would change (``None``: all is new). What it
            raises is raised; it may raise to say no.
    """

    def __init__(
        self,
        stacks: Stacks,
        *,
        name: str,
        region: str,
        zones: Callable[[], tuple[str, str]],
        caller: Callable[[], str],
        s3_prefix_list: Callable[[], str],
        watcher: Watcher,
        agree: Callable[[tuple[Change, ...] | None], None],
        worker_images: WorkerImages,
        cluster_objects: ClusterObjects,
    ) -> None:
        self._stacks = stacks
        self._name = check_name(name)
        self._region = region
        self._zones = zones
        self._caller = caller
        self._s3_prefix_list = s3_prefix_list
        self._watcher = watcher
        self._agree = agree
        self._worker_images = worker_images
        self._cluster_objects = cluster_objects
        self._again = f"harbor-aws deploy --stack {name} --region {region}"
        self._has_agreed = False

    def deploy(self, options: StackOptions) -> Deployment:
        """Create the stack, or change what changed, or go on with what broke off.

        Raises:
            UsageError: it cannot be done as asked.
            StackFailedError: CloudFormation failed at it.
            BuildFailedError: the workers' image cannot be built.
            InterruptedWatchError: Ctrl-C; CloudFormation, or CodeBuild, goes on.
        """
        asked_for(options)  # before AWS is asked anything
        found = self._stacks.describe(self._name)
        self._check_is_ours(found)
        previous = found.parameters if found else {}
        values = parameters(
            options,
            previous=previous,
            zones=self._zones,
            caller=self._caller,
            s3_prefix_list=self._s3_prefix_list,
            is_emulated=self._stacks.is_emulated,
        )
        changes = self._change(self._at_rest(found), values)
        deployed = self._stacks.describe(self._name)
        if deployed is None:
            raise PermanentError(f"The stack {self._name!r} is gone: somebody else deletes it.")
        stack = stack_from_outputs(self._name, region=self._region, outputs=deployed.outputs)
        # The image comes first: workers that run are not replaced by such as cannot start.
        image = self._worker_images.ensure(stack, deployed.outputs, again=self._again)
        self._cluster_objects.apply(stack, deployed.outputs)
        return Deployment(stack=stack, outputs=deployed.outputs, changes=changes, worker_image=image)

    def _at_rest(self, found: StackDescription | None) -> StackDescription | None:
        """Bring what broke off to an end, until there is no stack or one that can be updated."""
        for _ in range(_MOST_STEPS):
            step = next_step(found.status if found else None)
            if found is None or step is Step.CREATE:
                return None
            if step is Step.UPDATE:
                return found
            self._take_up(found, step)
            found = self._stacks.describe(self._name)
        raise PermanentError(f"The stack {self._name!r} does not come to rest; is somebody else deploying it?")

    def _take_up(self, found: StackDescription, step: Step) -> None:
        after = newest_event(self._stacks, found.id)
        total = None
        match step:
            case Step.FOLLOW:
                self._watcher.began(f"CloudFormation is still at {self._name} ({found.status}); following")
                after = None
            case Step.CLEAR:
                self._agree_once(None)
                self._watcher.began(f"Deleting what is left of {self._name} ({found.status})")
                total = len(self._stacks.resources(found.id))
                self._stacks.delete(found.id)
            case Step.ROLL_BACK:
                self._agree_once(None)
                self._watcher.began(f"Taking up the rollback of {self._name}")
                self._stacks.continue_rollback(found.id)
        ending = follow(self._stacks, found.id, watcher=self._watcher, total=total, after=after, again=self._again)
        if step is Step.CLEAR:
            ending.raise_if_failed(again=self._again)

    def _change(self, found: StackDescription | None, values: Mapping[str, str]) -> tuple[Change, ...] | None:
        if found is None:
            self._agree_once(None)
        change_set = self._stacks.prepare(
            self._name,
            template=template_body(has_budget=bool(values.get(BUDGET))),
            parameters=values,
            kind="UPDATE" if found else "CREATE",
        )
        if change_set is None:
            return None
        try:
            if found:
                self._agree_once(change_set.changes)
            after = newest_event(self._stacks, change_set.stack_id)
        except BaseException:
            self._stacks.discard(change_set, is_new=found is None)
            raise
        self._watcher.began(f"{'Updating' if found else 'Creating'} {self._name}")
        self._stacks.execute(change_set)
        follow(
            self._stacks,
            change_set.stack_id,
            watcher=self._watcher,
            total=len(change_set.changes),
            after=after,
            again=self._again,
        ).raise_if_failed(again=self._again)
        return change_set.changes

    def _agree_once(self, changes: tuple[Change, ...] | None) -> None:
        if not self._has_agreed:
            self._agree(changes)
            self._has_agreed = True

    def _check_is_ours(self, found: StackDescription | None) -> None:
        if found and not found.is_ours:
            raise UsageError(
                f"There is a stack {self._name!r} in {self._region} that harbor-aws did not make; say another --stack."
            )
