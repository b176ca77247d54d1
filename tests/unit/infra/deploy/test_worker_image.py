"""Which image the workers run, and who may make it."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cfnlint.decode import decode_str
from tests.unit.infra.deploy.fake_cloudformation import OUTPUTS
from tests.unit.infra.deploy.watching import Memory

from harbor_aws.infra.aws import Account
from harbor_aws.infra.deploy.manifests.plan import worker_image
from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.parameters import StackOptions, parameters
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.deploy.worker_image import BuiltImages, WorkerImage
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.layout import worker_context_key
from harbor_aws.infra.worker_image.context import worker_context

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/worker"
PROGRAMS = {
    "aws": """#!/bin/sh
        echo "aws $*" >>"$PLACE/did"
        case "$1" in s3) cp "$PLACE/archive" "$5" ;; *) echo secret ;; esac
    """,
    "docker": """#!/bin/sh
        echo "docker $*" >>"$PLACE/did"
        case "$1" in login) grep -q secret ;; build) echo $(cd "$4" && ls) >>"$PLACE/did" ;; esac
    """,
}
"""What the commands call, as far as they care."""

ZONES = {"ZoneA": "a", "ZoneB": "b", "PublicAccessCidrs": "0.0.0.0/0"}


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    document, errors = decode_str(template_body(has_budget=True))
    assert not errors
    return dict(document["Resources"])


def allowed(resources: dict[str, Any], role: str) -> dict[str, Any]:
    """Resources of a role's own statements, by their Sid."""
    (policy,) = resources[role]["Properties"]["Policies"]
    return {each["Sid"]: each["Resource"] for each in policy["PolicyDocument"]["Statement"]}


def ensured(outputs: dict[str, str]) -> WorkerImage | None:
    """What comes of it without asking AWS, of which there is none here."""
    stack = stack_from_outputs("team", region="eu-west-1", outputs=outputs)
    return BuiltImages(Account("eu-west-1"), watcher=Memory()).ensure(stack, outputs, again="deploy")


def test_the_tag_is_the_contents() -> None:
    """Another content never comes under the same name."""
    assert worker_image("team", {"WorkerRepositoryUri": REPOSITORY}) == f"{REPOSITORY}:{worker_context().tag}"
    with pytest.raises(UsageError, match="WorkerRepositoryUri"):
        worker_image("team", {})


def test_an_image_of_the_users_own() -> None:
    """It is taken as it is, nothing is built and nobody asked."""
    own = {**OUTPUTS, "WorkerImage": "registry.example/mine:1", "WorkerRepositoryUri": REPOSITORY}
    assert worker_image("team", own) == "registry.example/mine:1"
    assert ensured(own) == WorkerImage("registry.example/mine:1", is_new=False)


def test_without_a_cluster_there_is_no_image() -> None:
    """Nobody would run it."""
    assert ensured({name: value for name, value in OUTPUTS.items() if not name.startswith("Cluster")}) is None


def test_the_users_image_stays_until_it_is_taken_back() -> None:
    """As every parameter; a name with a blank in it is none."""
    asked = partial(
        parameters, zones=lambda: ("a", "b"), caller=lambda: "me", s3_prefix_list=lambda: "pl-1", is_emulated=False
    )
    first = asked(StackOptions(worker_image="mine:1"), previous=ZONES)
    assert first["WorkerImage"] == "mine:1"
    assert asked(StackOptions(), previous=first)["WorkerImage"] == "mine:1"
    assert asked(StackOptions(worker_image=""), previous=first)["WorkerImage"] == ""
    with pytest.raises(UsageError, match="--worker-image"):
        asked(StackOptions(worker_image="mine :1"), previous=ZONES)


def test_neither_builder_reaches_the_others_images(resources: dict[str, Any]) -> None:
    """A task's Dockerfile is anybody's: it must not get at what the workers are made from."""
    tasks, workers = allowed(resources, "BuilderRole"), allowed(resources, "WorkerBuilderRole")
    assert tasks["PushEnvironments"] == {"Fn::GetAtt": ["EnvironmentsRepository", "Arn"]}
    assert workers["PushWorkers"] == {"Fn::GetAtt": ["WorkerRepository", "Arn"]}
    shared = [each for each in workers.values() if each in tasks.values()]
    assert shared == ["*"]  # ecr:GetAuthorizationToken knows no resources
    assert resources["WorkerBuilder"]["Properties"]["ServiceRole"] == {"Fn::GetAtt": ["WorkerBuilderRole", "Arn"]}


def test_the_builder_may_read_what_deploy_uploads(resources: dict[str, Any]) -> None:
    """The key is where the role may read and the commands look, and what comes is checked against its digest."""
    prefix = allowed(resources, "WorkerBuilderRole")["ReadContexts"]["Fn::Sub"].rpartition("/")[0]
    key = worker_context_key("$DIGEST")
    assert f"${{ResultsBucket.Arn}}/{key}".startswith(prefix)
    assert f"s3://$BUCKET/{key}" in resources["WorkerBuilder"]["Properties"]["Source"]["BuildSpec"]


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_builders_commands(resources: dict[str, Any], tmp_path: Path, is_whole: bool) -> None:
    """They log in, build what deploy uploaded, push it under its tag; and build nothing that is not of its digest."""
    context = worker_context()
    (tmp_path / "archive").write_bytes(context.archive if is_whole else gzip.compress(b"something else"))
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    spec = yaml.safe_load(resources["WorkerBuilder"]["Properties"]["Source"]["BuildSpec"])
    (tmp_path / "source").mkdir()
    ended = subprocess.run(
        ["/bin/sh", "-ec", "\n".join(spec["phases"]["build"]["commands"])],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "PLACE": str(tmp_path),
            "BUCKET": "b", "REPOSITORY": REPOSITORY, "DIGEST": context.digest, "TAG": context.tag,
        },
        cwd=tmp_path / "source",
        capture_output=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert (ended.returncode == 0) is is_whole, ended.stderr
    with tarfile.open(fileobj=io.BytesIO(context.archive)) as archive:
        names = sorted(archive.getnames())
    assert "Dockerfile" in names
    image = f"{REPOSITORY}:{context.tag}"
    did = [
        f"aws s3 cp --only-show-errors s3://b/{worker_context_key(context.digest)} context.tar.gz",
        "aws ecr get-login-password",
        f"docker login -u AWS --password-stdin {REPOSITORY.split('/')[0]}",
        f"docker build -t {image} context",
        " ".join(names),
        f"docker push -q {image}",
    ]
    # Both ends of a pipe run at once.
    assert sorted((tmp_path / "did").read_text().splitlines()) == sorted(did if is_whole else did[:1])
