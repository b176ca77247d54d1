"""What ``deploy`` and ``destroy`` say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from harbor_aws.infra.deploy.events import Progress, StackEvent
from harbor_aws.infra.deploy.follow import InterruptedWatchError
from harbor_aws.infra.deploy.provision import Deployment
from harbor_aws.infra.deploy.stacks import Change
from harbor_aws.infra.deploy.teardown import Losses
from harbor_aws.infra.deploy.worker_image import WorkerImage
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.queues import QueueCounts
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.cli import deploy_view
from harbor_aws.producer.cli.app import load_command
from harbor_aws.producer.cli.deploy import next_lines
from harbor_aws.producer.cli.deploy_view import (
    Display,
    changes_view,
    costs_as_json,
    costs_view,
    progress_line,
    quota_warning,
)
from harbor_aws.producer.cli.destroy import loss_lines
from harbor_aws.producer.cli.errors import INTERRUPTED, exit_code
from harbor_aws.producer.cli.targets import ask, chosen_name, chosen_region

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def event(name: str, seconds_ago: int, status: str = "CREATE_IN_PROGRESS", reason: str | None = None) -> StackEvent:
    return StackEvent(name, name, "AWS::EKS::Cluster", status, NOW - timedelta(seconds=seconds_ago), reason)


def text_of(view: object) -> str:
    text = StringIO()
    Console(width=160, file=text).print(view)
    return text.getvalue()


def test_a_progress_line() -> None:
    """How many of how many, what it waits for and since when."""
    waiting = (event("Cluster", 370), event("A", 59), event("B", 2), event("C", 1))
    line = progress_line("Creating team", Progress(12, 57, waiting, (), is_rollback=False), at=NOW)
    assert line == "Creating team: 12 of 57 done; waits for Cluster (6 min 10 s), A (59 s), B (2 s) and 1 more"
    undone = progress_line("Updating", Progress(3, None, (), (), is_rollback=True), at=NOW)
    assert undone == "Updating: 3 done, undoing it"


def test_the_bill() -> None:
    """Itemised and added up, with the date of its prices."""
    text = text_of(costs_view("team", "eu-west-1"))
    for words in (
        "Idle, a month: $152.18",
        "$73.00",
        "NAT gateway",
        "1,000 trial-hours on top: $55.50",
        "Once: $0.05",
        "2026-11-22",
    ):
        assert words in text
    idle = costs_as_json()["idle_usd_per_month"]
    assert isinstance(idle, dict)
    assert idle["NAT gateway"] == 32.85


@pytest.mark.parametrize(
    ("vcpus", "asked", "warns"), [(6, 256, True), (256, 256, False), (6, 0, False), (None, 256, False)]
)
def test_an_account_that_has_less_than_is_asked(vcpus: float | None, asked: int, *, warns: bool) -> None:
    """It is said with both figures and what to do; what nobody knows is not guessed."""
    warning = quota_warning(vcpus, asked=asked)
    assert (warning is not None) is warns
    if warning:
        assert "6 vCPUs" in warning
        assert "256" in warning
        assert "L-3032A538" in warning


def test_changes() -> None:
    """What is made anew is said, for its contents go; long lists are cut."""
    changes = [Change("Modify", "TrialsQueue", "AWS::SQS::Queue", replaces=True), *[Change("Add", "X", "Y")] * 30]
    text = text_of(changes_view("team", changes))
    assert "modify TrialsQueue (AWS::SQS::Queue), made anew" in text
    assert "and 11 more" in text


@pytest.mark.parametrize(
    ("resource", "action", "line"),
    [
        ("IsolatedProfile", "Add", "It costs $14.60 a month more: 2 endpoints of ECR"),
        ("IsolatedProfile", "Remove", "It costs $14.60 a month less: 2 endpoints of ECR"),
        ("KedaRole", "Remove", "It costs $21.26 a month less: 2 pods of KEDA"),
    ],
)
def test_changes_that_cost(resource: str, action: str, line: str) -> None:
    """An option that is taken, or given up, on a stack that is there says its price before it is agreed to."""
    assert line in text_of(changes_view("team", [Change("Add", "X", "Y"), Change(action, resource, "Z")]))


@pytest.mark.parametrize(("resource", "action"), [("IsolatedProfile", "Modify"), ("TrialsQueue", "Add")])
def test_changes_that_cost_nothing(resource: str, action: str) -> None:
    """Say no price."""
    assert "It costs" not in text_of(changes_view("team", [Change(action, resource, "Z")]))


def test_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line when something was done, and not more often than now and then; failures at once, as they are."""
    console = Console(stderr=True, width=200)
    monkeypatch.setattr(deploy_view, "notes", console)
    monkeypatch.setattr(deploy_view, "LINE_SECONDS", 0.0)
    with Display() as display:
        display.began("Creating team")
        for done in (0, 1, 1, 2):
            display.progressed(Progress(done, 3, (), (), is_rollback=False))
        display.failed(event("Cluster", 0, "CREATE_FAILED", "no [room] left"), "wait")
    assert capsys.readouterr().err.splitlines() == [
        "Creating team",
        "Creating team: 1 of 3 done",
        "Creating team: 2 of 3 done",
        "Failed: Cluster (AWS::EKS::Cluster): no [room] left",
        "  → wait",
    ]


def test_losses() -> None:
    """Everything that a destroy takes with it."""
    losses = Losses(trials=QueueCounts(visible=5, in_flight=1, delayed=2), dead_letters=3, buckets=("b",))
    assert [line.split()[0] for line in loss_lines(losses)] == ["7", "3", "All"]
    assert list(loss_lines(Losses(trials=None, dead_letters=0, buckets=()))) == []


def test_what_to_do_next() -> None:
    """What the workers run and whether it is new, and how one starts; nothing where there is no cluster."""
    stack = Stack(name="team", region="eu-west-1", queue_url="q", dead_letter_queue_url="d", bucket="b")
    done = Deployment(stack=stack, outputs={}, changes=None, worker_image=WorkerImage("workers:1", is_new=True))
    assert next_lines(done) == [
        "Its workers run workers:1, which was built for it.",
        "  `harbor-aws scale 1` starts one.",
    ]
    scaled = replace(done, outputs={"KedaRoleArn": "arn"})
    assert next_lines(scaled)[1] == "  They come and go with the queue; `harbor-aws scale` sets bounds."
    assert next_lines(replace(done, worker_image=WorkerImage("mine:2", is_new=False)))[0] == "Its workers run mine:2."
    assert next_lines(replace(done, worker_image=None)) == []


def test_waiting_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is waited for gets a line now and then, and not one for every look."""
    monkeypatch.setattr(deploy_view, "notes", Console(stderr=True, width=200))
    with Display() as display:
        display.began("Draining the workers")
        display.waits("2 workers still drain")
        monkeypatch.setattr(deploy_view, "LINE_SECONDS", 0.0)
        display.waits("1 workers still drain")
    assert capsys.readouterr().err.splitlines() == ["Draining the workers", "1 workers still drain"]


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As every command's."""
    with pytest.raises(SystemExit) as ended:
        load_command(command)(["--help"])
    assert ended.value.code == 0
    assert f"harbor-aws {command} --stack team" in capsys.readouterr().out


def test_which_stack_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's, but never the local one by default."""
    monkeypatch.delenv("HARBOR_AWS_STACK", raising=False)
    assert chosen_name(None) == "harbor-aws"
    monkeypatch.setenv("HARBOR_AWS_STACK", "team")
    assert (chosen_name(None), chosen_name("other")) == ("team", "other")
    monkeypatch.setenv("HARBOR_AWS_STACK", "local")
    assert chosen_name(None) == "local", "which is then refused, rather than another one taken"


def test_which_region_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's own configuration says it, or the option."""
    monkeypatch.setattr("harbor_aws.producer.cli.targets.configured_region", lambda: None)
    assert chosen_region("eu-west-1") == "eu-west-1"
    with pytest.raises(UsageError, match="--region"):
        chosen_region(None)


def test_nobody_is_there_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then only --yes goes on."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    ask("Sure?", what="It costs", yes=True)
    with pytest.raises(UsageError, match="It costs; say --yes"):
        ask("Sure?", what="It costs", yes=False)


def test_ctrl_c_while_watching() -> None:
    """Ends as Ctrl-C does, although it was translated."""
    error = InterruptedWatchError("it goes on")
    error.__cause__ = KeyboardInterrupt()
    assert exit_code(error) == INTERRUPTED
