"""An estimate as a person reads it."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.unit.producer.estimate.estimate_fakes import planned, run

from harbor_aws.infra.capacity import Limits
from harbor_aws.producer.cli.estimate_view import dollars, estimate_view, summary_line
from harbor_aws.producer.cost import Cost
from harbor_aws.producer.estimate.estimate import Estimate, estimate
from harbor_aws.producer.estimate.room import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.producer.planfile import PlannedTrial

ROOM = Room(Limits(account_vcpus=100), "the account's quota, 100 vCPUs in us-east-1")


def found(trials: Sequence[PlannedTrial], seconds: Sequence[float] = (), *, room: Room = ROOM, **more: Any) -> Estimate:
    return estimate("nightly", trials, [run(each) for each in seconds], room=room, **more)


def shown(of: Estimate) -> str:
    console = Console(width=80, file=StringIO())
    with console.capture() as printed:
        console.print(estimate_view(of))
    return " ".join(printed.get().split())


def test_both_bounds_and_where_they_are_from() -> None:
    """Ten trials of 2 vCPU and 4 GB at an hour; or at six minutes, as three runs went."""
    text = shown(found([planned(f"t{number}") for number in range(10)], [360, 360, 360]))
    assert "nightly: 10 trials of 1 tasks, 10 pods" in text
    assert "│ about │ 2.0 │ 4.0 │ $0.0987 │" in text
    assert "│ at most │ 20.0 │ 40.0 │ $0.99 │" in text
    assert "About: as 3 earlier runs (earlier) went." in text
    assert "the account's quota, 100 vCPUs in us-east-1" in text


def test_what_nothing_bounds_is_said() -> None:
    """The deadline of every attempt is no limit of the task's."""
    pods = [pod.model_copy(update={"is_bounded": False}) for pod in planned("a").pods]
    text = shown(found([planned("a").model_copy(update={"pods": tuple(pods)}), planned("b")]))
    assert "1 have none but the deadline of every attempt" in text
    assert "No earlier run of these tasks by this agent is known" in text


def test_what_can_never_run_is_said() -> None:
    """A pod of 2 vCPU where there is one."""
    text = shown(found([planned("a")], room=replace(ROOM, limits=Limits(max_vcpus=1.0, account_vcpus=1000))))
    assert "│ never │" in text
    assert "This can never run" in text


def test_a_job_that_is_done_has_only_cost() -> None:
    """And no bounds."""
    cost = Cost(usd=12.3, vcpu_hours=1, memory_gb_hours=1, storage_gb_hours=0, pods=7, trials_not_counted=0)
    text = shown(found([], [360], spent=cost))
    assert "nightly: $12.30 so far, for 7 pods; nothing is left to run" in text
    assert "at most" not in text


def test_a_line_for_enqueue() -> None:
    """How long it takes is said only where somebody knows what may run at once."""
    line = summary_line(found([planned("a", pods=2)]))
    assert line.startswith("2 pods (2 of 2 vCPU and 4 GB): at most $0.")
    assert " in 2h0" in line
    assert " in 2h0" not in summary_line(found([planned("a", pods=2)], room=replace(ROOM, is_assumed=True)))


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (0.0123, "$0.0123"), (0.1, "$0.10"), (12345.678, "$12,345.68")]
)
def test_small_amounts_are_not_nothing(amount: float, text: str) -> None:
    """A trial costs a cent or two."""
    assert dollars(amount) == text
