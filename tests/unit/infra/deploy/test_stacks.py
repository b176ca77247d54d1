"""The door to CloudFormation: what its errors become, and which stack is whose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from tests.unit.infra.deploy import event_streams
from tests.unit.infra.deploy.event_streams import NAME
from tests.unit.infra.deploy.fake_cloudformation import FakeCloudFormation, client_error
from tests.unit.infra.deploy.watching import stacks_on

from harbor_aws.infra import aws
from harbor_aws.infra.aws_errors import CredentialsError
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.stacks import Stacks
from harbor_aws.infra.errors import PermanentError, TransientError, UsageError
from harbor_aws.infra.stack import load_stack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (NoCredentialsError(), CredentialsError, "Unable to locate credentials"),
        (client_error("ExpiredToken", "expired", status=403), CredentialsError, "what CloudFormation does goes on"),
        (client_error("Throttling", "Rate exceeded"), TransientError, "Rate exceeded"),
        (client_error("Unknown", "", status=503), TransientError, "failed"),
        (EndpointConnectionError(endpoint_url="x"), TransientError, "did not answer"),
        (client_error("AccessDenied", "User ann is not authorized to perform: x", status=403), PermanentError, "lack"),
        (
            client_error(
                "ValidationError", "Template format error: Unrecognized resource types: [AWS::Budgets::Budget]"
            ),
            PermanentError,
            "leave the budget out",
        ),
    ],
)
def test_errors_are_ours(error: Exception, kind: type[Exception], words: str) -> None:
    """Each says whose fault it is and what to do."""
    fake = FakeCloudFormation(event_streams.CREATION)
    fake.failing_looks = [error]
    with pytest.raises(kind, match=words):
        stacks_on(fake).describe(NAME)


def test_no_such_stack() -> None:
    """Is no error."""
    assert stacks_on(FakeCloudFormation()).describe(NAME) is None


def test_a_change_set_that_is_refused() -> None:
    """CloudFormation's reason is the error's."""
    fake = FakeCloudFormation(event_streams.CREATION)
    fake.describe_change_set = lambda **_: {"Status": "FAILED", "StatusReason": "No such template"}  # type: ignore[method-assign]  # an answer
    with pytest.raises(PermanentError, match="No such template"):
        stacks_on(fake).prepare(NAME, template="", parameters={}, kind="UPDATE")


def test_a_long_change_set() -> None:
    """It comes in pages, after a while."""
    change = {"ResourceChange": {"Action": "Modify", "LogicalResourceId": "A", "Replacement": "True"}}
    answers: list[dict[str, Any]] = [
        {"Status": "CREATE_IN_PROGRESS"},
        {"Status": "CREATE_COMPLETE", "ChangeSetId": "c", "Changes": [change] * 2, "NextToken": "more"},
        {"Status": "CREATE_COMPLETE", "ChangeSetId": "c", "Changes": [change]},
    ]
    fake = FakeCloudFormation(event_streams.CREATION)
    fake.describe_change_set = lambda **_: answers.pop(0)  # type: ignore[method-assign]  # answers
    made = stacks_on(fake).prepare(NAME, template="", parameters={}, kind="UPDATE")
    assert made is not None
    assert [each.replaces for each in made.changes] == [True] * 3


@pytest.mark.parametrize(
    ("url", "is_emulated"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://localhost:5000", True),
        ("http://[::1]:5000", True),
        ("https://cloudformation.eu-west-1.amazonaws.com", False),
        ("https://10.1.2.3", False),
    ],
)
def test_what_is_on_this_machine_is_moto(url: str, is_emulated: bool) -> None:
    """And nothing else is: elsewhere the cluster is made."""
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=url))
    assert Stacks(cast("Any", client)).is_emulated == is_emulated


def test_outputs_of_another_version() -> None:
    """An output that is not there is named, with the way to have it."""
    with pytest.raises(UsageError, match=r"'QueueUrl'.*harbor-aws deploy --stack team"):
        stack_from_outputs("team", region="eu-west-1", outputs={})


class TestLoadStack:
    """A stack that has no file on this machine is looked for at AWS."""

    @pytest.fixture(autouse=True)
    def _nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)

    def test_the_local_one_is_not(self) -> None:
        """It is nowhere else."""
        with pytest.raises(UsageError, match="harbor-aws local up"):
            load_stack("local")

    def test_without_a_region(self) -> None:
        """Nobody is asked."""
        with pytest.raises(UsageError, match="There is no stack 'team' on this machine, and no region"):
            load_stack("team")

    def test_with_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its outputs are the stack."""
        fake = FakeCloudFormation(event_streams.CREATION)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setattr("harbor_aws.infra.deploy.stacks.cloudformation_client", lambda _: fake)
        assert aws.configured_region() == "eu-west-1"
        stack = load_stack(NAME)
        assert (stack.region, stack.bucket, stack.cluster_name) == ("eu-west-1", "b", NAME)
        with pytest.raises(UsageError, match="or in eu-west-1; `harbor-aws deploy --stack other`"):
            load_stack("other")
        fake.failing_looks = [NoCredentialsError()]
        with pytest.raises(UsageError, match=r"on this machine\. AWS cannot be asked to"):
            load_stack(NAME)
