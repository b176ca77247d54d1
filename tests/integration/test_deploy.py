"""``deploy`` and ``destroy`` against moto's CloudFormation: the template itself, but for the cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.moto_account import UNKNOWN_TO_MOTO, moto_account, use_account
from tests.integration.moto_stack import REGION

from harbor_aws.infra.aws import Account, cloudformation_client, ecr_client, logs_client, s3_client
from harbor_aws.infra.deploy import follow
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import OutgoingMessage, Queue
from harbor_aws.infra.stack import load_stack
from harbor_aws.producer.cli.app import load_command
from harbor_aws.producer.cli.errors import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings(UNKNOWN_TO_MOTO)

ANYWHERE = ("--allow-cidr", "0.0.0.0/0")
ACCOUNT = Account(REGION)


class Bench:
    """An account, and the two commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.client = cloudformation_client(ACCOUNT)

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What it printed, on stdout and stderr."""
        command, *rest = arguments
        self._monkeypatch.setattr("sys.argv", [command, *rest])
        with pytest.raises(SystemExit) as ended:
            run(load_command(command, place=f"harbor_aws.producer.cli.{command}:{command}"), name=command)
        out, err = self._capfd.readouterr()
        assert (ended.value.code or 0) == code, out + err
        return out, err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code)[0])

    def status(self, name: str = "harbor-aws") -> str | None:
        found = Stacks.of(ACCOUNT).describe(name)
        return found.status if found else None


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.01)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with moto_account() as url:
        use_account(monkeypatch, url)
        yield Bench(monkeypatch, capfd)


def test_a_stack_is_made_and_found_again(bench: Bench) -> None:
    """What it costs is said before; its outputs are what the other commands need, and they find it by its name."""
    _, err = bench("deploy", *ANYWHERE, code=2)
    assert "EKS control plane" in err
    assert "This makes things that cost money; say --yes." in err
    assert bench.status() is None
    made = bench.json("deploy", *ANYWHERE, "--max-vcpus", "512", "--yes")
    assert (made["stack"], made["region"], made["outputs"]["MaxVcpus"]) == ("harbor-aws", REGION, "512")
    assert (made["worker_image"], made["is_image_new"]) == (None, False)  # there is no cluster to run it
    stack = load_stack("harbor-aws")
    assert (stack.trials.namespace, stack.workers.namespace) == ("harbor-aws-trials", "harbor-aws")
    Queue.trials(stack).send([OutgoingMessage("hello")])
    assert Queue.trials(stack).counts().visible == 1
    assert Queue.dead_letters(stack).counts().total == 0
    ObjectStore.of(stack).put("jobs/j/config.json", b"{}")
    assert ObjectStore.of(stack).exists("jobs/j/config.json")


def test_a_second_deploy_changes_what_changed(bench: Bench) -> None:
    """Nothing if nothing did; an option that is not said again stays; what changes is named."""
    bench("deploy", *ANYWHERE, "--max-vcpus", "32", "--yes")
    before = bench.json("deploy", "--yes")
    assert (before["is_changed"], before["changes"]) == (False, [])
    out, _ = bench("deploy")
    assert "is as it should be; nothing was changed" in out
    again = bench.json("deploy", "--max-vcpus", "64", "--yes")
    assert again["is_changed"]
    assert again["outputs"]["MaxVcpus"] == "64"
    assert again["outputs"]["QueueUrl"] == before["outputs"]["QueueUrl"]
    (stack,) = bench.client.describe_stacks(StackName="harbor-aws")["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert (parameters["MaxVcpus"], parameters["PublicAccessCidrs"]) == ("64", "0.0.0.0/0")


def test_an_image_of_the_users_own_stays(bench: Bench) -> None:
    """It is an output, which the workers' Deployment is made from, until it is taken back."""
    own = "registry.example/mine:1"
    assert "WorkerImage" not in bench.json("deploy", *ANYWHERE, "--yes")["outputs"]
    assert bench.json("deploy", "--worker-image", own, "--yes")["outputs"]["WorkerImage"] == own
    assert bench.json("deploy", "--max-vcpus", "64", "--yes")["outputs"]["WorkerImage"] == own
    assert "WorkerImage" not in bench.json("deploy", "--worker-image", "", "--yes")["outputs"]


def test_a_deploy_that_broke_off_is_taken_up(bench: Bench) -> None:
    """Killed after it asked for the change set: the half stack goes, and a whole one is made."""
    values = {"PublicAccessCidrs": "0.0.0.0/0", "ZoneA": f"{REGION}a", "ZoneB": f"{REGION}b"}
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    bench.client.create_change_set(
        StackName="harbor-aws",
        ChangeSetName="broken-off",
        ChangeSetType="CREATE",
        TemplateBody=template_body(has_budget=True),
        Parameters=parameters,  # type: ignore[arg-type]  # a list of dicts is one of TypedDicts
    )
    assert bench.status() == "REVIEW_IN_PROGRESS"
    _, err = bench("deploy", *ANYWHERE, "--yes")
    assert "Deleting what is left of harbor-aws (REVIEW_IN_PROGRESS)" in err
    assert bench.status() == "CREATE_COMPLETE"


def test_a_strangers_stack_is_left_alone(bench: Bench) -> None:
    """Neither command touches a stack that somebody else made, and no other command reads it."""
    template = json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})
    bench.client.create_stack(StackName="theirs", TemplateBody=template)
    for command, more in (("deploy", ANYWHERE), ("destroy", ())):
        _, err = bench(command, "--stack", "theirs", *more, "--yes", code=2)
        assert "harbor-aws" in err
    assert bench.status("theirs") == "CREATE_COMPLETE"
    with pytest.raises(UsageError, match="is not one of harbor-aws"):
        load_stack("theirs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--yes"], "Say who may reach the cluster's API"),
        (["--allow-cidr", "203.0.113.7/24", "--yes"], "--allow-cidr takes an IPv4 CIDR block"),
        ([*ANYWHERE, "--stack", "local", "--yes"], "cannot be called 'local'"),
        ([*ANYWHERE, "--stack", "My_Stack", "--yes"], "cannot be a stack's name"),
        ([*ANYWHERE, "--alert-email", "me", "--yes"], "takes an address such as"),
        ([*ANYWHERE, "--budget-usd-per-month", "100", "--yes"], "say where to with --alert-email"),
        ([*ANYWHERE, "--keda-manifest", "/nowhere/keda.yaml", "--yes"], "/nowhere/keda.yaml cannot be read"),
        ([*ANYWHERE, "--keda-manifest", "k.yaml", "--no-autoscaling", "--yes"], "say one of them"),
    ],
)
def test_what_makes_no_sense_is_said_first(bench: Bench, arguments: list[str], message: str) -> None:
    """Nothing is made, and the exit code is 2."""
    _, err = bench("deploy", *arguments, code=2)
    assert message in err
    assert bench.client.describe_stacks()["Stacks"] == []


def test_destroy_takes_all_but_the_results(bench: Bench) -> None:
    """What use made goes with the stack; the bucket stays until it is told to go; then there is nothing to destroy."""
    bench("deploy", *ANYWHERE, "--yes")
    stack = load_stack("harbor-aws")
    Queue.trials(stack).send([OutgoingMessage("1"), OutgoingMessage("2")])
    Queue.dead_letters(stack).send([OutgoingMessage("3")])
    store = ObjectStore.of(stack)
    for number in range(1001):
        store.put(f"jobs/j/states/{number}.json", b"{}")
    ecr_client(ACCOUNT).create_repository(repositoryName="harbor-aws-hub/library/python")
    ecr_client(ACCOUNT).create_repository(repositoryName="harbor-aws-hubris/mine")
    _, err = bench("destroy", code=2)
    assert "2 trials are queued and 0 run; none of them will have a result." in err
    assert "1 dead letters are lost" in err
    assert "say --yes" in err
    assert bench.status() == "CREATE_COMPLETE"
    gone = bench.json("destroy", "--yes")
    assert (gone["kept"], gone["left"]) == ([stack.bucket], [])
    assert bench.status() is None
    repositories = ecr_client(ACCOUNT).describe_repositories()["repositories"]
    assert [each["repositoryName"] for each in repositories] == ["harbor-aws-hubris/mine"]
    assert store.exists("jobs/j/states/1000.json")
    logs_client(ACCOUNT).create_log_group(logGroupName="/harbor-aws/harbor-aws/pods")  # a pod wrote once more
    assert bench.json("destroy", "--delete-results", "--yes") == {
        "stack": "harbor-aws", "region": REGION, "existed": True, "kept": [], "left": [],
    }  # fmt: skip
    assert s3_client(ACCOUNT).list_buckets()["Buckets"] == []
    assert logs_client(ACCOUNT).describe_log_groups()["logGroups"] == []
    out, _ = bench("destroy", "--yes")
    assert "There is no stack harbor-aws" in out


def test_running_trials_are_not_pulled_away(bench: Bench) -> None:
    """While messages are in flight only --force destroys."""
    bench("deploy", *ANYWHERE, "--yes")
    queue = Queue.trials(load_stack("harbor-aws"))
    queue.send([OutgoingMessage("1")])
    queue.receive(count=1, hide_seconds=60)
    _, err = bench("destroy", "--yes", code=2)
    assert "1 trials run" in err
    assert bench.status() == "CREATE_COMPLETE"
    bench("destroy", "--yes", "--force")
    assert bench.status() is None


def test_what_is_left_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that does not go is listed, and the exit code is 1."""
    bench("deploy", *ANYWHERE, "--yes")
    ecr_client(ACCOUNT).create_repository(repositoryName="harbor-aws-hub/library/python")
    monkeypatch.setattr("harbor_aws.infra.deploy.leftovers.Leftovers.delete_repository", lambda *_: None)
    assert bench.json("destroy", "--yes", code=1)["left"] == [
        {"kind": "repository", "name": "harbor-aws-hub/library/python"}
    ]


def test_another_stack_is_another(bench: Bench) -> None:
    """Two stacks in one region share nothing, and one goes alone."""
    for name in ("one", "two"):
        bench("deploy", "--stack", name, *ANYWHERE, "--yes")
    assert not set(
        load_stack("one").model_dump(include={"queue_url", "dead_letter_queue_url", "bucket"}).values()
    ) & set(load_stack("two").model_dump(include={"queue_url", "dead_letter_queue_url", "bucket"}).values())
    bench("destroy", "--stack", "one", "--delete-results", "--yes")
    assert bench.status("two") == "CREATE_COMPLETE"
    Queue.trials(load_stack("two")).send([OutgoingMessage("hello")])
