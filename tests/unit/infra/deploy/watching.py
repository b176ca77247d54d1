"""A watcher that remembers, and stacks on the fake CloudFormation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from harbor_aws.infra.deploy.stacks import Stacks

if TYPE_CHECKING:
    from tests.unit.infra.deploy.fake_cloudformation import FakeCloudFormation

    from harbor_aws.infra.deploy.events import Progress, StackEvent


class Memory:
    """Told what goes on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.waited: list[str] = []
        self.seen: list[Progress] = []
        self.failures: list[tuple[str, str | None]] = []

    def began(self, what: str) -> None:
        self.begun.append(what)

    def progressed(self, now: Progress) -> None:
        self.seen.append(now)

    def waits(self, what: str) -> None:
        self.waited.append(what)

    def failed(self, event: StackEvent, advice: str | None) -> None:
        self.failures.append((event.resource, advice))


def stacks_on(fake: FakeCloudFormation) -> Stacks:
    return Stacks(cast("Any", fake))
