"""Removing a stack: what comes before what, and what broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.infra.deploy import event_streams
from tests.unit.infra.deploy.event_streams import NAME, stack
from tests.unit.infra.deploy.fake_cloudformation import FakeCloudFormation
from tests.unit.infra.deploy.watching import Memory, stacks_on

from harbor_aws.infra.cluster import AccessRefusedError
from harbor_aws.infra.deploy.follow import StackFailedError
from harbor_aws.infra.deploy.leftovers import Leftover
from harbor_aws.infra.deploy.teardown import Remains, Teardown
from harbor_aws.infra.errors import PermanentError, TransientError, UsageError
from harbor_aws.infra.queues import QueueCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.deploy.follow import Watcher
    from harbor_aws.infra.deploy.interfaces import Scope
    from harbor_aws.infra.deploy.teardown import Losses
    from harbor_aws.infra.stack import Stack

BUCKET = "team-resultsbucket-1"


class MemoryLeftovers:
    """What a stack's use left; the stubborn do not go."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.there = {
            "repository": ["team-hub/library/python"],
            "log group": ["/harbor-aws/team/pods"],
            "bucket": [BUCKET],
        }
        self._stubborn = stubborn

    def repositories(self) -> list[str]:
        return list(self.there["repository"])

    def log_groups(self) -> list[str]:
        return list(self.there["log group"])

    def buckets(self) -> list[str]:
        return list(self.there["bucket"])

    def delete_repository(self, name: str) -> None:
        if not self._stubborn:
            self.there["repository"].remove(name)

    def delete_log_group(self, name: str) -> None:
        self.there["log group"].remove(name)

    def delete_bucket(self, name: str) -> None:
        self.there["bucket"].remove(name)


class MemoryInterfaces:
    """Network interfaces, which go."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def wait_until_gone(self, scope: Scope, *, watcher: Watcher) -> bool:
        self._calls.append(f"wait for {scope.filter}={scope.id}")
        return True


class Bench:
    """One destroy on a fake CloudFormation."""

    def __init__(self, fake: FakeCloudFormation, *, stubborn: bool = False) -> None:
        self.fake = fake
        self.interfaces = MemoryInterfaces(fake.calls)
        self.leftovers = MemoryLeftovers(stubborn=stubborn)
        self.memory = Memory()
        self.asked: list[Losses] = []
        self.is_refused = False

    def apply(self, stack: Stack, outputs: Mapping[str, str]) -> None: ...

    def remove(self, stack: Stack) -> None:
        self.fake.calls.append(f"remove what is in {stack.cluster_name}")
        if self.is_refused:
            raise AccessRefusedError("refused", status=401)

    def destroy(self, *, delete_results: bool = False, force: bool = False) -> Remains | None:
        return Teardown(
            stacks_on(self.fake),
            cast("Any", self.leftovers),
            cast("Any", self.interfaces),
            name=NAME,
            region="eu-west-1",
            watcher=self.memory,
            agree=self.asked.append,
            cluster_objects=self,
        ).destroy(delete_results=delete_results, force=force)


class CountedQueue:
    """Both queues; ``counts`` is what they say, or raise."""

    said: QueueCounts | Exception = QueueCounts(visible=2, in_flight=0, delayed=1)

    @classmethod
    def trials(cls, _: Stack) -> type[CountedQueue]:
        return cls

    dead_letters = trials

    @classmethod
    def counts(cls) -> QueueCounts:
        if isinstance(cls.said, Exception):
            raise cls.said
        return cls.said


@pytest.fixture(autouse=True)
def queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harbor_aws.infra.deploy.teardown.Queue", CountedQueue)


def test_pods_go_first_and_results_stay() -> None:
    """The cluster is emptied while there is one; then the stack, then what use left."""
    bench = Bench(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.DELETION]))
    assert bench.destroy() == Remains(kept=(BUCKET,), left=())
    assert bench.fake.calls == [f"remove what is in {NAME}", "wait for group-id=sg", "delete_stack"]
    assert (bench.asked[0].trials, bench.asked[0].dead_letters) == (CountedQueue.said, 3)
    assert bench.leftovers.there == {"repository": [], "log group": [], "bucket": [BUCKET]}


def test_what_does_not_go_is_left() -> None:
    """A bucket that was to go is among it, and one that was to stay is not."""
    bench = Bench(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.DELETION]), stubborn=True)
    remains = bench.destroy(delete_results=True)
    assert remains == Remains(kept=(), left=(Leftover("repository", "team-hub/library/python"),))
    assert bench.asked[0].buckets == (BUCKET,)


def test_a_deletion_that_fails() -> None:
    """Its reason, what to do, and the command that goes on; results are not touched, and it can be done again."""
    fake = FakeCloudFormation(
        event_streams.CREATION, plays=[event_streams.DELETION_WITH_PODS_LEFT, event_streams.DELETION]
    )
    bench = Bench(fake)
    with pytest.raises(StackFailedError, match="harbor-aws destroy --stack team --region eu-west-1") as raised:
        bench.destroy(delete_results=True)
    assert "wait for vpc-id=Vpc-1" not in fake.calls  # the cluster is there, with interfaces of its own
    assert "network interfaces of pods" in str(raised.value)
    assert bench.leftovers.buckets() == [BUCKET]
    assert bench.destroy(delete_results=True) == Remains(kept=(), left=())


def test_a_deletion_that_interfaces_keep_from_ending() -> None:
    """What a pod left is waited for, and the rest is deleted without anybody's doing."""
    begun, *rest = event_streams.DELETION_WITH_PODS_LEFT
    plays = [[begun, event_streams.resource(1500, "Cluster", "DELETE_COMPLETE"), *rest], event_streams.DELETION]
    bench = Bench(FakeCloudFormation(event_streams.CREATION, plays=plays))
    assert bench.destroy() == Remains(kept=(BUCKET,), left=())
    assert bench.fake.calls[-3:] == ["delete_stack", "wait for vpc-id=Vpc-1", "delete_stack"]


def test_access_that_went_with_the_first_try() -> None:
    """The stack's access entry may be gone, and with it what was to be removed; before that a refusal is one."""
    past = [*event_streams.CREATION, *event_streams.DELETION_WITH_PODS_LEFT]
    bench = Bench(FakeCloudFormation(past, plays=[event_streams.DELETION]))
    bench.is_refused = True
    assert bench.destroy() is not None
    bench = Bench(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.DELETION]))
    bench.is_refused = True
    with pytest.raises(AccessRefusedError):
        bench.destroy()
    assert "delete_stack" not in bench.fake.calls


def test_a_cluster_that_is_gone() -> None:
    """A deletion that broke off after it goes on without asking it anything."""
    gone = [event_streams.resource(1500, "Cluster", "DELETE_COMPLETE")]
    past = [*event_streams.CREATION, *gone, *event_streams.DELETION_WITH_PODS_LEFT]
    bench = Bench(FakeCloudFormation(past, plays=[event_streams.DELETION]))
    assert bench.destroy() is not None
    assert bench.fake.calls == ["wait for group-id=sg", "delete_stack"]


def test_a_deletion_under_way_is_taken_up() -> None:
    """Nothing in the cluster can be worked with any more; the rest goes its way."""
    fake = FakeCloudFormation(
        [*event_streams.CREATION, *event_streams.DELETION[:2]], plays=[event_streams.DELETION[2:]], rows_per_look=2
    )
    bench = Bench(fake)
    assert bench.destroy() == Remains(kept=(BUCKET,), left=())
    assert fake.calls == ["delete_stack"]


def test_an_update_is_waited_for() -> None:
    """CloudFormation deletes no stack that it updates."""
    fake = FakeCloudFormation(
        [*event_streams.CREATION, *event_streams.UPDATE[:2]], plays=[event_streams.UPDATE[2:], event_streams.DELETION]
    )
    fake.go_on()
    bench = Bench(fake)
    assert bench.destroy() == Remains(kept=(BUCKET,), left=())
    assert fake.calls == [f"remove what is in {NAME}", "wait for group-id=sg", "delete_stack"]
    assert "following" in bench.memory.begun[0]


def test_a_stack_that_never_was() -> None:
    """What is left of a failed creation goes too."""
    past = [*event_streams.REVIEW, *event_streams.CREATION_WITHOUT_ADDRESS]
    gone = [stack(900, "DELETE_IN_PROGRESS", "User Initiated"), stack(901, "DELETE_COMPLETE")]
    fake = FakeCloudFormation(past, plays=[gone])
    fake.outputs = {}
    bench = Bench(fake)
    assert bench.destroy() is not None
    assert bench.asked[0].trials is None
    assert fake.calls == ["delete_stack"]


def test_nothing_is_there() -> None:
    """Not even a bucket that was to go; one that may stay does not make a stack."""
    bench = Bench(FakeCloudFormation())
    bench.leftovers.there = {"repository": [], "log group": [], "bucket": [BUCKET]}
    assert bench.destroy() is None
    assert bench.asked == []
    assert bench.destroy(delete_results=True) == Remains(kept=(), left=())


@pytest.mark.parametrize("force", [False, True])
def test_trials_that_run(monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    """They are lost by force alone."""
    monkeypatch.setattr(CountedQueue, "said", QueueCounts(visible=0, in_flight=7, delayed=0))
    bench = Bench(FakeCloudFormation(event_streams.CREATION, plays=[event_streams.DELETION]))
    if force:
        assert bench.destroy(force=True) is not None
        return
    with pytest.raises(UsageError, match="7 trials run on the stack 'team'"):
        bench.destroy()
    assert bench.fake.calls == []


def test_queues_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion that failed after them goes on."""
    monkeypatch.setattr(CountedQueue, "said", PermanentError("no such queue"))
    past = [*event_streams.CREATION, *event_streams.DELETION_WITH_PODS_LEFT]
    bench = Bench(FakeCloudFormation(past, plays=[event_streams.DELETION]))
    assert bench.destroy() is not None
    assert bench.asked[0].trials is None


@pytest.mark.parametrize("error", [PermanentError("refused"), TransientError("busy")])
def test_queues_that_do_not_tell(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Nothing is deleted while it is not known whether trials run."""
    monkeypatch.setattr(CountedQueue, "said", error)
    bench = Bench(FakeCloudFormation(event_streams.CREATION))
    with pytest.raises(type(error)):
        bench.destroy()
    assert bench.fake.calls == []


def test_pods_without_a_network_are_waited_for_too() -> None:
    """Their security group goes no sooner than their network interfaces either."""
    fake = FakeCloudFormation(event_streams.CREATION, plays=[event_streams.DELETION])
    fake.outputs["IsolatedSecurityGroupId"] = "sg-alone"
    Bench(fake).destroy()
    assert fake.calls[1:3] == ["wait for group-id=sg", "wait for group-id=sg-alone"]
