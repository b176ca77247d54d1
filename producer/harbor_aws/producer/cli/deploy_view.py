"""``deploy`` and ``destroy`` for a terminal: what they will do, what it costs, how far it is."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harbor_aws.infra.deploy.prices import (
    NAT_USD_PER_GB,
    PRICES_AS_OF,
    costs_once,
    costs_per_thousand_trial_hours,
    idle_costs,
    optional_costs,
    total,
)
from harbor_aws.infra.fargate import VCPUS_QUOTA
from harbor_aws.producer.cli.options import notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from rich.console import RenderableType
    from rich.status import Status

    from harbor_aws.infra.deploy.events import Progress, StackEvent
    from harbor_aws.infra.deploy.prices import CostItem
    from harbor_aws.infra.deploy.stacks import Change

LINE_SECONDS = 30.0
"""How often progress gets a line where it cannot be shown in place."""

_SHOWN_WAITING = 3

_SHOWN_CHANGES = 20


def costs_view(name: str, region: str, *, is_isolating: bool = False) -> RenderableType:
    """What a new stack is and costs."""
    return Group(
        Text(
            f"The stack {name} in {region} will have a VPC, an EKS cluster with Fargate profiles, two queues, a bucket,"
        ),
        Text(
            "image repositories, a build project, roles, policies, logs, alarms, a dashboard. It takes some 25 minutes."
        ),
        _bill("Idle, a month", idle_costs(is_isolating=is_isolating)),
        _bill("1,000 trial-hours on top", costs_per_thousand_trial_hours()),
        _bill("Once", costs_once()),
        Text(
            f"Prices: {PRICES_AS_OF}, before taxes. Not in it: models, images and downloads (${NAT_USD_PER_GB:g} a GB "
            "through the NAT gateway), storage, requests (under $1 per 1,000 trials), "
            "builds of tasks' images."
        ),
    )


def quota_warning(vcpus: float | None, *, asked: int) -> str | None:
    """That trials may use more than there is.

    Args:
        vcpus: what Fargate gives the account at once; ``None`` if nobody knows.
        asked: what trials may use of it; 0 for no more than before.
    """
    if vcpus is None or vcpus >= asked:
        return None
    return (
        f"Fargate gives this account {vcpus:g} vCPUs at once, for trials, workers and all else, and trials may use "
        f"{asked}. Pods beyond it wait until their attempt fails. Ask for more ({VCPUS_QUOTA}, "
        "https://console.aws.amazon.com/servicequotas/home/services/fargate/quotas), or say less with --max-vcpus."
    )


def costs_as_json(*, is_isolating: bool = False) -> dict[str, object]:
    """The same figures."""
    return {
        "prices": PRICES_AS_OF,
        "idle_usd_per_month": {item.what: round(item.usd, 2) for item in idle_costs(is_isolating=is_isolating)},
        "usd_once": {item.what: round(item.usd, 2) for item in costs_once()},
        "usd_per_1000_trial_hours": {item.what: round(item.usd, 2) for item in costs_per_thousand_trial_hours()},
    }


def changes_view(name: str, changes: Sequence[Change]) -> RenderableType:
    """What an update will do, and what the stack costs more or less for it."""
    lines = [
        Text(f"  {each.action.lower()} {each.resource} ({each.type})" + (", made anew" if each.replaces else ""))
        for each in changes[:_SHOWN_CHANGES]
    ]
    more = len(changes) - len(lines)
    if not lines:
        return Text(f"The stack {name} is there; none of its resources changes, but its outputs do.")
    return Group(
        Text(f"The stack {name} is there; of its resources {len(changes)} change:"),
        *lines,
        *([Text(f"  and {more} more")] if more else []),
        *map(Text, _changed_costs(changes)),
    )


def _changed_costs(changes: Sequence[Change]) -> Iterator[str]:
    """What options that are taken or given up change in a month, whether anything runs or not."""
    ways = {"Add": "more", "Remove": "less"}
    for each in changes:
        cost, way = optional_costs().get(each.resource), ways.get(each.action)
        if cost and way:
            yield f"It costs ${cost.usd:,.2f} a month {way}: {cost.what}. ({PRICES_AS_OF}, before taxes)"


def progress_line(what: str, now: Progress, *, at: datetime) -> str:
    """How far it is, and what it waits for."""
    line = f"{what}: {now.done}" + ("" if now.total is None else f" of {now.total}") + " done"
    if now.is_rollback:
        line += ", undoing it"
    if now.waiting:
        names = ", ".join(f"{each.resource} ({_age(each, at)})" for each in now.waiting[:_SHOWN_WAITING])
        more = len(now.waiting) - _SHOWN_WAITING
        line += f"; waits for {names}" + (f" and {more} more" if more > 0 else "")
    return line


class Display:
    """Shows what goes on: in place on a terminal, otherwise a line now and then."""

    def __init__(self) -> None:
        self._status: Status = notes.status("Asking AWS")
        self._what = ""
        self._last_line = (0.0, -1)

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def began(self, what: str) -> None:
        self._what = what
        self._last_line = (time.monotonic(), 0)
        self._status.update(escape(what))
        _say(what)

    def progressed(self, now: Progress) -> None:
        line = progress_line(self._what, now, at=datetime.now(UTC))
        if notes.is_terminal:
            self._status.update(escape(line))
            return
        at, done = self._last_line
        if now.done != done and time.monotonic() - at >= LINE_SECONDS:
            self._last_line = (time.monotonic(), now.done)
            _say(line)

    def waits(self, what: str) -> None:
        if notes.is_terminal:
            self._status.update(escape(what))
            return
        at, done = self._last_line
        if time.monotonic() - at >= LINE_SECONDS:
            self._last_line = (time.monotonic(), done)
            _say(what)

    def failed(self, event: StackEvent, advice: str | None) -> None:
        _say(f"Failed: {event.resource} ({event.type}): {event.reason or event.status}")
        if advice:
            _say(f"  → {advice}")

    def pausing[**P](self, asks: Callable[P, None]) -> Callable[P, None]:
        """The function, with the display out of the way while it talks to the user."""

        def quietly(*args: P.args, **kwargs: P.kwargs) -> None:
            with self._paused():
                asks(*args, **kwargs)

        return quietly

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._status.stop()
        try:
            yield
        finally:
            self._status.start()


def _say(line: str) -> None:
    """As it is: CloudFormation's reasons have brackets that are no markup."""
    notes.print(line, highlight=False, markup=False, soft_wrap=True)


def _bill(title: str, items: list[CostItem]) -> Table:
    table = Table(title=f"{title}: ${total(items):,.2f}", title_justify="left", show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for item in items:
        table.add_row(f"${item.usd:,.2f}", item.what)
    return table


def _age(event: StackEvent, at: datetime) -> str:
    seconds = max(0, int((at - event.at).total_seconds()))
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"
