"""The builder of tasks' images: what its commands do, and what it may."""

from __future__ import annotations

import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cfnlint.decode import decode_str
from tests.unit.infra.deploy.fake_cloudformation import OUTPUTS

from harbor_aws.infra.deploy.outputs import stack_from_outputs
from harbor_aws.infra.deploy.template import template_body
from harbor_aws.infra.layout import environment_context_key
from harbor_aws.infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
REPOSITORY = f"{REGISTRY}/team/environments"
HUB = f"{REGISTRY}/team-hub"
TAG = "0123456789abcdef" * 2
PROGRAMS = {
    "aws": """#!/bin/sh
        echo "aws $*" >>"$PLACE/did"
        case "$1 $2" in
            "s3 cp") cp "$PLACE/context.tar.gz" "$5" ;;
            "ecr batch-get-image") echo "$THERE" ;;
            *) echo secret ;;
        esac
    """,
    "docker": """#!/bin/sh
        echo "docker $*" >>"$PLACE/did"
        case "$1 $2" in
            login*) grep -q secret ;;
            "buildx create") cat buildkitd.toml >>"$PLACE/did" ;;
            "buildx build") for last; do :; done; ls "$last" >>"$PLACE/did"; exit "$BUILD_EXIT" ;;
        esac
    """,
}
"""What the commands call, as far as they care."""

LOGIN = ["aws ecr get-login-password", f"docker login -u AWS --password-stdin {REGISTRY}"]
LOOK = (
    f"aws ecr batch-get-image --repository-name team/environments --image-ids imageTag={TAG} --query length(images) "
    "--output text"
)
FETCH = f"aws s3 cp --only-show-errors s3://b/{environment_context_key(TAG)} context.tar.gz"
BUILD = [
    "docker buildx build --platform linux/amd64 --provenance=false --progress plain --load "
    f"-t {REPOSITORY}:{TAG} context",
    "Dockerfile",
]
PUSH = f"docker push -q {REPOSITORY}:{TAG}"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    document, errors = decode_str(template_body(has_budget=True))
    assert not errors
    return dict(document)


@pytest.fixture
def run(template: dict[str, Any], tmp_path: Path) -> Any:
    """Runs the builder's commands, with more variables; its exit status and what they called."""
    commands = yaml.safe_load(template["Resources"]["Builder"]["Properties"]["Source"]["BuildSpec"])["phases"]["build"]
    for name, script in PROGRAMS.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "Dockerfile").write_text("FROM python:3.12")
    with tarfile.open(tmp_path / "context.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "Dockerfile", arcname="Dockerfile")
    (tmp_path / "source").mkdir()

    def run(**variables: str) -> tuple[int, list[str]]:
        ended = subprocess.run(
            ["/bin/sh", "-c", "\n".join(commands["commands"])],
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}", "PLACE": str(tmp_path), "THERE": "0", "BUILD_EXIT": "0",
                "BUCKET": "b", "REPOSITORY": REPOSITORY, "TAG": TAG, **variables,
            },
            cwd=tmp_path / "source",
            capture_output=True,
            timeout=60,
            check=False,
        )  # fmt: skip
        return ended.returncode, (tmp_path / "did").read_text().splitlines()

    return run


def ordered(did: list[str]) -> list[str]:
    """The lines with those of each login in one order: both ends of a pipe run at once."""
    lines = list(did)
    for at in range(len(lines) - 1):
        if lines[at : at + 2] == LOGIN[::-1]:
            lines[at : at + 2] = LOGIN
    return lines


def test_an_image_is_built_for_fargates_processor(run: Any) -> None:
    """From what enqueue uploaded, without a login that its Dockerfile could use, and then pushed under its tag."""
    status, did = run()
    assert status == 0
    assert ordered(did) == [LOOK, FETCH, *BUILD, *LOGIN, PUSH]


def test_base_images_come_through_the_cache(run: Any) -> None:
    """Where the stack has one: a builder whose mirror it is, and which itself comes through it."""
    status, did = run(DOCKER_HUB=HUB)
    assert status == 0
    assert ordered(did) == [
        LOOK,
        FETCH,
        *LOGIN,
        "docker buildx create --use --driver docker-container --buildkitd-config buildkitd.toml --driver-opt "
        f"image={HUB}/moby/buildkit:buildx-stable-1",
        '[registry."docker.io"]',
        f'  mirrors = ["{HUB}"]',
        *BUILD,
        *LOGIN,
        PUSH,
    ]


def test_what_is_there_is_not_built_again(run: Any) -> None:
    """A build that waited for a machine while another one of the same content ran."""
    assert run(THERE="1") == (0, [LOOK])


@pytest.mark.parametrize("variables", [{"BUILD_EXIT": "1"}, {"PLACE": "/nowhere"}])
def test_a_failure_is_one(run: Any, tmp_path: Path, variables: Mapping[str, str]) -> None:
    """Whichever command fails; none comes after it."""
    (tmp_path / "did").touch()
    status, _ = run(**variables)
    assert status != 0


def test_the_builder_reads_contexts_alone(template: dict[str, Any]) -> None:
    """Not the tasks, which have the solutions: a Dockerfile runs beside its build's credentials."""
    (policy,) = template["Resources"]["BuilderRole"]["Properties"]["Policies"]
    (read,) = [each for each in policy["PolicyDocument"]["Statement"] if "s3:GetObject" in each["Action"]]
    allowed = read["Resource"]["Fn::Sub"]
    assert allowed == "${ResultsBucket.Arn}/" + environment_context_key("*").replace("*.tar.gz", "*")


def test_the_builder_reads_no_tasks_image(template: dict[str, Any]) -> None:
    """A Dockerfile may name any, and a build through the cache has a login: layers are given of the cache alone."""
    resources = template["Resources"]
    (policy,) = resources["BuilderRole"]["Properties"]["Policies"]
    granted = [*policy["PolicyDocument"]["Statement"]]
    granted += resources["DockerHubBasePulls"]["Properties"]["PolicyDocument"]["Statement"]
    (reads,) = [each for each in granted if "ecr:GetDownloadUrlForLayer" in each["Action"]]
    assert reads["Resource"]["Fn::Sub"].endswith(":repository/${AWS::StackName}-hub/*")


def test_outputs_say_who_builds() -> None:
    """The project and the cache, if there are any; a stack of an older version has neither, and says nobody."""
    told = {**OUTPUTS, "ImageBuilderProject": "team-environments", "DockerHubPrefix": HUB}
    stack = stack_from_outputs("team", region="eu-west-1", outputs=told)
    assert (stack.image_builder, stack.image_builder_project) == ("codebuild", "team-environments")
    assert stack.docker_hub_prefix == HUB
    older = {name: value for name, value in told.items() if name not in {"ImageBuilderProject", "DockerHubPrefix"}}
    stack = stack_from_outputs("team", region="eu-west-1", outputs=older)
    assert (stack.image_builder, stack.image_builder_project, stack.docker_hub_prefix) == ("none", None, None)


def test_an_older_stacks_file_is_still_read() -> None:
    """What is new in it has defaults."""
    older = {"name": "s", "region": "r", "queue_url": "", "dead_letter_queue_url": "", "bucket": ""}
    stack = Stack.model_validate({**older, "image_builder": "embedded"})
    assert (stack.image_builder, stack.docker_hub_prefix) == ("embedded", None)


def test_the_project_is_the_one_that_people_may_start(template: dict[str, Any]) -> None:
    """Its name is made the same way in both places."""
    name = template["Resources"]["Builder"]["Properties"]["Name"]["Fn::Sub"]
    statements = template["Resources"]["ProducerPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (build,) = [each for each in statements if each["Sid"] == "BuildImages"]
    assert build["Resource"]["Fn::Sub"].endswith(f":project/{name}")
