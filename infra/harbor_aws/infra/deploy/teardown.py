"""Removing a stack, with what its use left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.deploy.follow import follow, newest_event
from harbor_aws.infra.deploy.interfaces import in_group, in_network
from harbor_aws.infra.deploy.leftovers import Leftover
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.steps import is_success, is_under_way
from harbor_aws.infra.errors import PermanentError, UsageError
from harbor_aws.infra.queues import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from harbor_aws.infra.deploy.cluster_objects import ClusterObjects
    from harbor_aws.infra.deploy.follow import Ending, Watcher
    from harbor_aws.infra.deploy.interfaces import Interfaces
    from harbor_aws.infra.deploy.leftovers import Leftovers
    from harbor_aws.infra.deploy.stacks import StackDescription, Stacks
    from harbor_aws.infra.queues import QueueCounts
    from harbor_aws.infra.stack import Stack

CLUSTER_TYPE = "AWS::EKS::Cluster"
NETWORK_TYPE = "AWS::EC2::VPC"
TRIALS_GROUPS = ("TrialsSecurityGroupId", "IsolatedSecurityGroupId")
"""Outputs: the security groups of the trials' pods, which cannot go while one of their network interfaces is there."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What goes with a stack, for the question whether it is meant."""

    trials: QueueCounts | None
    """What is in the trials' queue; ``None`` if there is none."""
    dead_letters: int
    buckets: tuple[str, ...]
    """Whose contents would be deleted as well."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What there is afterwards."""

    kept: tuple[str, ...]
    """Buckets that were to be kept."""
    left: tuple[Leftover, ...]
    """What was to go and is still there."""


class Teardown:
    """Destroys one stack. What broke off is taken up by doing it again."""

    def __init__(
        self,
        stacks: Stacks,
        leftovers: Leftovers,
        interfaces: Interfaces,
        *,
        name: str,
        region: str,
        watcher: Watcher,
        agree: Callable[[Losses], None],
        cluster_objects: ClusterObjects,
    ) -> None:
        self._stacks = stacks
        self._leftovers = leftovers
        self._interfaces = interfaces
        self._name = name
        self._region = region
        self._watcher = watcher
        self._agree = agree
        self._cluster_objects = cluster_objects
        self._again = f"harbor-aws destroy --stack {name} --region {region}"

    def destroy(self, *, delete_results: bool, force: bool) -> Remains | None:
        """Delete the stack and what its use left; ``None`` if there was nothing.

        Args:
            delete_results: the bucket too, with all jobs and results.
            force: even though trials run.

        Raises:
            UsageError: the stack is not one of ours, or trials run.
            StackFailedError: CloudFormation could not delete all of it.
            InterruptedWatchError: Ctrl-C; CloudFormation goes on.
        """
        found = self._stacks.describe(self._name)
        if found and not found.is_ours:
            raise UsageError(
                f"The stack {self._name!r} in {self._region} was not made by harbor-aws; it is left alone."
            )
        found = self._after_updates(found)
        buckets = tuple(self._leftovers.buckets())
        doomed = buckets if delete_results else ()
        if found is None and not doomed and not self._left(()):
            return None
        stack = self._whole(found) if found else None
        is_second_try = found is not None and found.status == "DELETE_FAILED"
        self._agree(self._losses(stack, doomed, may_lack_queues=is_second_try, force=force))
        if found and stack and self._has_cluster(found):
            self._empty_cluster(stack, is_second_try=is_second_try)
        if found:
            self._wait_for_pods_interfaces(found)
            self._delete(found)
        self._sweep(doomed)
        return Remains(kept=tuple(each for each in buckets if each not in doomed), left=self._left(doomed))

    def _after_updates(self, found: StackDescription | None) -> StackDescription | None:
        """The stack when it can be deleted, which it cannot be while it is updated or rolled back."""
        if found is None or not is_under_way(found.status) or found.status.startswith(("CREATE_", "DELETE_")):
            return found
        self._watcher.began(f"CloudFormation is still at {self._name} ({found.status}); following")
        follow(self._stacks, found.id, watcher=self._watcher, total=None, after=None, again=self._again)
        return self._stacks.describe(self._name)

    def _whole(self, found: StackDescription) -> Stack | None:
        """The stack, if it can be worked with; one that never came to be has no outputs."""
        if not found.outputs or is_under_way(found.status):
            return None
        return stack_from_outputs(self._name, region=self._region, outputs=found.outputs)

    def _has_cluster(self, found: StackDescription) -> bool:
        """Whether it is still there: a deletion that broke off may have come beyond it."""
        return any(kind == CLUSTER_TYPE for _, kind, _ in self._stacks.resources(found.id))

    def _losses(self, stack: Stack | None, doomed: tuple[str, ...], *, may_lack_queues: bool, force: bool) -> Losses:
        trials = dead = None
        if stack:
            try:
                trials, dead = Queue.trials(stack).counts(), Queue.dead_letters(stack).counts()
            except PermanentError:
                if not may_lack_queues:  # credentials that may not look are no proof that nothing runs
                    raise
        if trials and trials.in_flight and not force:
            raise UsageError(
                f"{trials.in_flight} trials run on the stack {self._name!r}, and would be lost. Wait for them, or stop "
                f"them with `harbor-aws scale 0 --stack {self._name}`, or say --force."
            )
        return Losses(trials=trials, dead_letters=dead.total if dead else 0, buckets=doomed)

    def _empty_cluster(self, stack: Stack, *, is_second_try: bool) -> None:
        """The first try emptied it, and may have taken these credentials' access away with the stack's access entry."""
        try:
            self._cluster_objects.remove(stack)
        except AccessRefusedError:
            if not is_second_try:
                raise

    def _wait_for_pods_interfaces(self, found: StackDescription) -> None:
        """They go some minutes after the pods; CloudFormation would fail at their security groups meanwhile."""
        groups = [found.outputs[name] for name in TRIALS_GROUPS if name in found.outputs]
        if groups and not is_under_way(found.status):
            self._watcher.began("Waiting for the network interfaces of the trials' pods")
            for group in groups:
                self._interfaces.wait_until_gone(in_group(group), watcher=self._watcher)

    def _delete(self, found: StackDescription) -> None:
        """Once more if it failed and interfaces were in the way, which nobody but AWS and time removes.

        While the cluster is there, its own are too, and something else is in the way.
        """
        networks = [place for _, kind, place in self._stacks.resources(found.id) if kind == NETWORK_TYPE]
        ending = self._delete_once(found)
        if not is_success(ending.stack.status) and networks and not self._has_cluster(ending.stack):
            self._watcher.began(f"Waiting for what is left in the network of {self._name}")
            if all(self._interfaces.wait_until_gone(in_network(each), watcher=self._watcher) for each in networks):
                ending = self._delete_once(ending.stack)
        ending.raise_if_failed(again=self._again)

    def _delete_once(self, found: StackDescription) -> Ending:
        after = None if found.status == "DELETE_IN_PROGRESS" else newest_event(self._stacks, found.id)
        total = len(self._stacks.resources(found.id))
        self._watcher.began(f"Deleting {self._name}")
        self._stacks.delete(found.id)
        return follow(self._stacks, found.id, watcher=self._watcher, total=total, after=after, again=self._again)

    def _sweep(self, doomed: tuple[str, ...]) -> None:
        for repository in self._leftovers.repositories():
            self._watcher.began(f"Deleting the repository {repository}")
            self._leftovers.delete_repository(repository)
        for group in self._leftovers.log_groups():
            self._watcher.began(f"Deleting the log group {group}")
            self._leftovers.delete_log_group(group)
        for bucket in doomed:
            self._watcher.began(f"Deleting the bucket {bucket} with all results")
            self._leftovers.delete_bucket(bucket)

    def _left(self, doomed: tuple[str, ...]) -> tuple[Leftover, ...]:
        """What is there of all that was to go."""
        return (
            *(Leftover("repository", name) for name in self._leftovers.repositories()),
            *(Leftover("log group", name) for name in self._leftovers.log_groups()),
            *(Leftover("bucket", name) for name in self._leftovers.buckets() if name in doomed),
        )
