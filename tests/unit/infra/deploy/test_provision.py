"""From whatever a stack is to what was asked for, on recorded event streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.infra.deploy import event_streams
from tests.unit.infra.deploy.event_streams import NAME, stack
from tests.unit.infra.deploy.fake_cloudformation import FakeCloudFormation
from tests.unit.infra.deploy.watching import Memory, stacks_on

from harbor_aws.infra.deploy.follow import StackFailedError
from harbor_aws.infra.deploy.parameters import StackOptions
from harbor_aws.infra.deploy.provision import Deployment, Provisioner
from harbor_aws.infra.deploy.worker_image import WorkerImage
from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.deploy.stacks import Change
    from harbor_aws.infra.stack import Stack

ANYWHERE = StackOptions(allow_cidrs=("0.0.0.0/0",))
DELETION_OF_LITTLE = [stack(900, "DELETE_IN_PROGRESS", "User Initiated"), stack(901, "DELETE_COMPLETE")]


class RecordingImages:
    """Workers' images, remembered."""

    def __init__(self, order: list[str]) -> None:
        self._order = order

    def ensure(self, stack: Stack, outputs: Mapping[str, str], *, again: str) -> WorkerImage:
        self._order.append(f"image of {stack.name}, again by {again}")
        return WorkerImage("image:1", is_new=True)


class RecordingObjects:
    """What is inside of the cluster, remembered."""

    def __init__(self, order: list[str]) -> None:
        self._order = order
        self.applied: list[str] = []

    def apply(self, stack: Stack, outputs: Mapping[str, str]) -> None:
        self.applied.append(stack.name)
        self._order.append(f"objects of {stack.name}")

    def remove(self, stack: Stack) -> None: ...


class Bench:
    """One deploy on a fake CloudFormation."""

    def __init__(self, fake: FakeCloudFormation, *, says_no: bool = False) -> None:
        self.fake = fake
        self.memory = Memory()
        self.order: list[str] = []
        self.images = RecordingImages(self.order)
        self.objects = RecordingObjects(self.order)
        self.asked: list[tuple[Change, ...] | None] = []
        self._says_no = says_no

    def agree(self, changes: tuple[Change, ...] | None) -> None:
        self.asked.append(changes)
        if self._says_no:
            raise UsageError("no")

    def deploy(self, options: StackOptions = ANYWHERE) -> Deployment:
        return Provisioner(
            stacks_on(self.fake),
            name=NAME,
            region="eu-west-1",
            zones=lambda: ("eu-west-1a", "eu-west-1b"),
            caller=lambda: "arn:aws:iam::123456789012:user/me",
            s3_prefix_list=lambda: "pl-1",
            watcher=self.memory,
            agree=self.agree,
            worker_images=self.images,
            cluster_objects=self.objects,
        ).deploy(options)


def test_a_new_stack() -> None:
    """It is asked for once, made, and then its cluster gets its objects."""
    bench = Bench(FakeCloudFormation(plays=[event_streams.CREATION]))
    done = bench.deploy()
    assert (done.stack.cluster_name, len(done.changes or ())) == (NAME, 3)
    assert bench.fake.calls == ["create_change_set CREATE", "execute_change_set"]
    assert (bench.asked, bench.objects.applied) == ([None], [NAME])
    assert (bench.fake.parameters["Emulated"], bench.fake.parameters["ZoneB"]) == ("false", "eu-west-1b")


def test_the_image_comes_before_who_runs_it() -> None:
    """Workers that run are not replaced by such as cannot start; what came of it is said."""
    bench = Bench(FakeCloudFormation(plays=[event_streams.CREATION]))
    assert bench.deploy().worker_image == WorkerImage("image:1", is_new=True)
    again = f"harbor-aws deploy --stack {NAME} --region eu-west-1"
    assert bench.order == [f"image of {NAME}, again by {again}", f"objects of {NAME}"]


def test_nothing_to_change() -> None:
    """The change set goes, nobody is asked, and the cluster's objects are looked after all the same."""
    bench = Bench(FakeCloudFormation(event_streams.CREATION))
    bench.fake.has_changes = False
    assert bench.deploy(StackOptions()).changes is None
    assert bench.fake.calls == ["create_change_set UPDATE", "delete_change_set"]
    assert (bench.asked, bench.objects.applied) == ([], [NAME])
    assert bench.fake.parameters["PublicAccessCidrs"] == "10.0.0.0/8"


def test_an_update_asks_with_its_changes() -> None:
    """And does nothing, leaves nothing, if the answer is no."""
    bench = Bench(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.UPDATE]))
    bench.deploy()
    assert [len(changes or ()) for changes in bench.asked] == [3]
    refusing = Bench(FakeCloudFormation(event_streams.CREATION), says_no=True)
    with pytest.raises(UsageError):
        refusing.deploy()
    assert refusing.fake.calls == ["create_change_set UPDATE", "delete_change_set"]


def test_a_new_stack_that_is_not_wanted() -> None:
    """Nothing was begun when the answer is no."""
    bench = Bench(FakeCloudFormation(), says_no=True)
    with pytest.raises(UsageError):
        bench.deploy()
    assert bench.fake.calls == []


def test_what_is_under_way_is_followed() -> None:
    """The command that began it was killed: it is watched to its end, then compared with what is asked for."""
    fake = FakeCloudFormation([*event_streams.REVIEW, *event_streams.CREATION[:6]], plays=[event_streams.CREATION[6:]])
    fake.go_on()
    fake.has_changes = False
    bench = Bench(fake)
    assert bench.deploy().stack.name == NAME
    assert "following" in bench.memory.begun[0]
    assert bench.memory.seen[-1].done == 3
    assert fake.calls == ["create_change_set UPDATE", "delete_change_set"]


@pytest.mark.parametrize(
    "past",
    [
        event_streams.REVIEW,
        [*event_streams.REVIEW, *event_streams.CREATION_WITHOUT_ADDRESS],
        [*event_streams.CREATION, *event_streams.DELETION_WITH_PODS_LEFT],
    ],
)
def test_what_cannot_be_updated_is_made_anew(past: list[event_streams.Row]) -> None:
    """Never begun, rolled back, or deleted by half; with the options that it had."""
    fake = FakeCloudFormation(past, plays=[DELETION_OF_LITTLE, event_streams.CREATION])
    bench = Bench(fake)
    assert bench.deploy(StackOptions()).stack.name == NAME
    assert fake.calls == ["delete_stack", "create_change_set CREATE", "execute_change_set"]
    assert fake.parameters["PublicAccessCidrs"] == "10.0.0.0/8"
    assert bench.asked == [None]


def test_a_creation_that_rolls_back_meanwhile() -> None:
    """It is watched, its failure told, what is left deleted, and it is tried once more."""
    rows = event_streams.CREATION_WITHOUT_ADDRESS
    fake = FakeCloudFormation(
        [*event_streams.REVIEW, *rows[:5]], plays=[rows[5:], DELETION_OF_LITTLE, event_streams.CREATION]
    )
    fake.go_on()
    bench = Bench(fake)
    bench.deploy()
    assert [resource for resource, _ in bench.memory.failures] == ["NatAddress"]
    assert fake.calls == ["delete_stack", "create_change_set CREATE", "execute_change_set"]


def test_a_rollback_that_failed_is_taken_up() -> None:
    """Before anything else can be done to the stack."""
    past = [*event_streams.CREATION, stack(2100, "UPDATE_ROLLBACK_FAILED", "Cluster is busy")]
    bench = Bench(FakeCloudFormation(past, plays=[event_streams.ROLLBACK_TAKEN_UP, event_streams.UPDATE]))
    bench.deploy()
    assert bench.fake.calls == ["continue_update_rollback", "create_change_set UPDATE", "execute_change_set"]


def test_a_failure_is_the_commands() -> None:
    """With CloudFormation's reason and what to do; the cluster gets nothing."""
    bench = Bench(FakeCloudFormation(plays=[event_streams.CREATION_WITHOUT_ADDRESS]))
    with pytest.raises(StackFailedError, match="L-0263D0A3"):
        bench.deploy()
    assert bench.objects.applied == []
    failing = Bench(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.UPDATE_WITHOUT_PERMISSION]))
    with pytest.raises(StackFailedError, match="eks:UpdateClusterConfig"):
        failing.deploy()


def test_a_strangers_stack() -> None:
    """It is not touched."""
    bench = Bench(FakeCloudFormation(event_streams.CREATION))
    bench.fake.tags = {}
    with pytest.raises(UsageError, match="did not make"):
        bench.deploy()
    assert bench.fake.calls == []
