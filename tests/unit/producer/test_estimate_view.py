"""An estimate as a person reads it."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from tests.unit.producer.estimate.estimate_fakes import planned, run

from harbor_aws.infra.capacity import Limits
from harbor_aws.producer.cli.estimate_view import dollars, estimate_view, summary_lines
from harbor_aws.producer.cost import Cost
from harbor_aws.producer.estimate.earlier import Earlier
from harbor_aws.producer.estimate.estimate import Estimate, estimate
from harbor_aws.producer.estimate.room import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harbor_aws.producer.planfile import PlannedTrial

ROOM = Room(Limits(account_vcpus=100), "the account's quota, 100 vCPUs in us-east-1")


def found(trials: Sequence[PlannedTrial], seconds: Sequence[float] = (), *, room: Room = ROOM, **more: Any) -> Estimate:
    known = Earlier([run(each) for each in seconds], more.pop("unread", None))
    return estimate("nightly", trials, known, room=room, **more)


def line(of: Estimate) -> str:
    return summary_lines(of)[0]


def shown(of: Estimate) -> str:
    console = Console(width=80, file=StringIO())
    with console.capture() as printed:
        console.print(estimate_view(of))
    return " ".join(printed.get().split())


def test_both_bounds_and_where_they_are_from() -> None:
    """Ten trials of 2 vCPU and 4 GB at an hour; or at six minutes, as three runs went."""
    text = shown(found([planned(f"t{number}") for number in range(10)], [360, 360, 360]))
    assert "nightly: 10 trials of 1 task, 10 pods" in text
    assert "│ about │ 2.0 │ 4.0 │ $0.0987 │" in text
    assert "│ at most │ 20.0 │ 40.0 │ $0.99 │" in text
    assert "About: as 3 earlier runs (earlier) went." in text
    assert "the account's quota, 100 vCPUs in us-east-1" in text


def test_what_nothing_bounds_is_said() -> None:
    """The deadline of every attempt is no limit of the task's."""
    pods = [pod.model_copy(update={"is_bounded": False}) for pod in planned("a").pods]
    text = shown(found([planned("a").model_copy(update={"pods": tuple(pods)}), planned("b")]))
    assert "1 has none but the deadline of every attempt" in text
    assert "No earlier run of these tasks by this agent is known" in text


def test_what_can_never_run_is_said() -> None:
    """A pod of 2 vCPU where there is one: a line of its own; for enqueue a warning, if the quota is known."""
    room = replace(ROOM, limits=Limits(max_vcpus=1.0, account_vcpus=1000))
    never = found([planned("a")], room=room)
    text = shown(never)
    why = "This can never run: a trial takes 2 vCPUs, and the stack's vCPUs leave 1; reckoned with the account's quota"
    assert "│ never │" in text
    assert why in text
    assert "held up by" not in text
    _, warning = summary_lines(never)
    assert warning.startswith(f"Warning: {why}")
    assert len(summary_lines(found([planned("a")], room=replace(room, is_assumed=True)))) == 1


def test_what_is_not_known_of_earlier_runs_is_said() -> None:
    """Trials of an agent that never ran, in both views; and why nothing could be read."""
    trials = [planned("a"), planned("b", agent={"name": "claude-code"})]
    part = found(trials, [360])
    assert (part.about is not None, part.not_in_about) == (True, 1)
    assert "without 1 trial by agents of which no earlier run is known" in shown(part)
    assert "about $0.0161 for 1 of 2 trials as 1 earlier run (earlier) went" in line(part)
    unread = found(trials, unread="S3 refused it.")
    assert "Earlier runs could not be read: S3 refused it." in shown(unread)
    assert "Earlier runs could not be read: S3 refused it." in summary_lines(unread)


def test_what_runs_now_is_said() -> None:
    """It is paid for in part, and left as a whole."""
    cost = Cost(usd=1, vcpu_hours=1, memory_gb_hours=1, storage_gb_hours=0, pods=1, trials_not_counted=0)
    text = shown(found([planned("a")], spent=cost, running=1))
    assert "nightly: $1.00 so far, for 1 pod; left: 1 trial of 1 task, 1 pod" in text
    assert "1 trial of them run now" not in text
    assert "1 of them runs now" in text


def test_pods_are_in_json() -> None:
    """As all else that is shown."""
    assert found([planned("a", pods=2)]).model_dump(mode="json")["pods"] == 2


def test_a_job_that_is_done_has_only_cost() -> None:
    """And no bounds."""
    cost = Cost(usd=12.3, vcpu_hours=1, memory_gb_hours=1, storage_gb_hours=0, pods=7, trials_not_counted=0)
    text = shown(found([], [360], spent=cost))
    assert "nightly: $12.30 so far, for 7 pods; nothing is left to run" in text
    assert "at most" not in text


def test_a_line_for_enqueue() -> None:
    """How long it takes is said only where somebody knows what may run at once."""
    text = line(found([planned("a", pods=2)]))
    assert text.startswith("2 pods (2 of 2 vCPU and 4 GB): at most $0.")
    assert text.endswith("at us-east-1's list prices, without models, images and second attempts.")
    assert " in 2h0" in text
    assert line(found([planned("a")])).startswith("1 pod (1 of")
    assert " in 2h0" not in line(found([planned("a", pods=2)], room=replace(ROOM, is_assumed=True)))


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (0.0123, "$0.0123"), (0.1, "$0.10"), (12345.678, "$12,345.68")]
)
def test_small_amounts_are_not_nothing(amount: float, text: str) -> None:
    """A trial costs a cent or two."""
    assert dollars(amount) == text
