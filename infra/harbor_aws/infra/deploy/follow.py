"""Watching CloudFormation at work, to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harbor_aws.infra.aws_advice import advice
from harbor_aws.infra.deploy.events import operation, progress
from harbor_aws.infra.deploy.steps import is_success, is_under_way
from harbor_aws.infra.errors import InfrastructureError, TransientError

if TYPE_CHECKING:
    from harbor_aws.infra.deploy.events import Progress, StackEvent
    from harbor_aws.infra.deploy.stacks import StackDescription, Stacks

LOOK_SECONDS = 3.0
"""How often CloudFormation is asked."""

PATIENCE_SECONDS = 600.0
"""For how long it may fail to answer; what it does goes on meanwhile."""


class Watcher(Protocol):
    """Told what goes on, as it happens."""

    def began(self, what: str) -> None:
        """Something new begins, in words such as ``Creating stack-1``."""
        ...

    def progressed(self, now: Progress) -> None:
        """Called after every look, whether anything changed or not."""
        ...

    def waits(self, what: str) -> None:
        """Something is still waited for, in words such as ``3 workers still drain``. Called after every look."""
        ...

    def failed(self, event: StackEvent, advice: str | None) -> None:
        """A resource failed by itself. Called once, as soon as it is seen."""
        ...


class StackFailedError(InfrastructureError):
    """CloudFormation did not do what was asked; the message has its reason and what to do."""


class InterruptedWatchError(InfrastructureError):
    """Ctrl-C: nobody watches any more, and CloudFormation goes on."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an operation ended."""

    stack: StackDescription
    failures: tuple[StackEvent, ...]

    def raise_if_failed(self, *, again: str) -> None:
        """Do nothing if it succeeded.

        Args:
            again: the command that takes it up.

        Raises:
            StackFailedError: it did not.
        """
        if is_success(self.stack.status):
            return
        lines = [f"  {failure_line(event)}" for event in self.failures] or [f"  {self.stack.status_reason or ''}"]
        raise StackFailedError(
            "\n".join(
                [
                    f"The stack {self.stack.name!r} ended as {self.stack.status}:",
                    *lines,
                    f"`{again}` goes on from here.",
                ]
            )
        )


def failure_line(event: StackEvent) -> str:
    """What failed, why, and what to do about it."""
    hint = advice(event.reason)
    return f"{event.resource} ({event.type}): {event.reason or event.status}" + (f" → {hint}" if hint else "")


def newest_event(stacks: Stacks, stack_id: str) -> str | None:
    """The id of the stack's last event, before something new is begun."""
    return next((event.id for event in stacks.events(stack_id)), None)


def follow(
    stacks: Stacks, stack_id: str, *, watcher: Watcher, total: int | None, after: str | None, again: str
) -> Ending:
    """Wait until CloudFormation is done with what it does, and say how it goes.

    Args:
        total: resources that it has to do with.
        after: the stack's last event before this began: until there is another, it has not. ``None`` if it has.
        again: the command that takes it up after Ctrl-C.

    Raises:
        InterruptedWatchError: Ctrl-C.
        TransientError: AWS has not answered for :data:`PATIENCE_SECONDS`.
    """
    try:
        return _Following(stacks, stack_id, watcher=watcher, total=total, after=after).to_the_end()
    except KeyboardInterrupt as interrupt:
        raise InterruptedWatchError(
            f"Nobody watches any more, but CloudFormation goes on with it. `{again}` takes it up."
        ) from interrupt


class _Following:
    def __init__(
        self, stacks: Stacks, stack_id: str, *, watcher: Watcher, total: int | None, after: str | None
    ) -> None:
        self._stacks = stacks
        self._stack_id = stack_id
        self._watcher = watcher
        self._total = total
        self._after = after
        self._told: set[str] = set()
        self._failures: tuple[StackEvent, ...] = ()

    def to_the_end(self) -> Ending:
        answered = time.monotonic()
        while True:
            try:
                if ended := self._look():
                    return Ending(stack=ended, failures=self._failures)
                answered = time.monotonic()
            except TransientError:
                if time.monotonic() - answered > PATIENCE_SECONDS:
                    raise
            time.sleep(LOOK_SECONDS)

    def _look(self) -> StackDescription | None:
        """The stack, if it is at rest."""
        events = operation(self._stacks.events(self._stack_id))
        if not events or events[-1].id == self._after:
            stack = self._stacks.describe(self._stack_id)  # one that was never more than a plan goes without an event
            return stack if stack and stack.status == "DELETE_COMPLETE" else None
        self._tell(progress(events, total=self._total))
        # The stack itself is asked last: asked first, it may say what it was before all this began.
        if is_under_way(next(event.status for event in reversed(events) if event.is_stack)):
            return None
        stack = self._stacks.describe(self._stack_id)
        return stack if stack and not is_under_way(stack.status) else None

    def _tell(self, now: Progress) -> None:
        self._failures = now.failures
        for event in now.failures:
            if event.id not in self._told:
                self._told.add(event.id)
                self._watcher.failed(event, advice(event.reason))
        self._watcher.progressed(now)
