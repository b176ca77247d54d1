"""Which networks a stack can give a task, and which it is refused for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harbor.models.job.config import JobConfig
from harbor.models.task.task import Task
from harbor.models.trial.config import EnvironmentConfig
from tests.tiny_tasks import IMAGE_TOML, make_task

from harbor_aws.infra.stack import Isolation, Stack
from harbor_aws.producer.network import network_reasons
from harbor_aws.producer.plan import prepare
from harbor_aws.producer.refusal import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:The 'allow_internet' field is deprecated:DeprecationWarning")

REGISTRY = "1.dkr.ecr.eu-west-1.amazonaws.com"
NONE = 'network_mode = "no-network"\n'
PUBLIC = 'network_mode = "public"\n'
LIST = 'network_mode = "allowlist"\nallowed_hosts = ["a.example"]\n'
STEP = '[[steps]]\nname = "one"\n'
STEP_FILES = {"steps/one/instruction.md": "x", "steps/one/tests/test.sh": "x"}


def stack(isolation: Isolation, *, hub: str | None = None) -> Stack:
    return Stack(
        name="team",
        region="eu-west-1",
        queue_url="q",
        dead_letter_queue_url="d",
        bucket="b",
        image_repository=f"{REGISTRY}/team/environments",
        docker_hub_prefix=hub,
        isolation=isolation,
    )


def reasons(task: Path, on: Stack | None, *, verify: bool = True) -> list[str]:
    return network_reasons(Task(task), options=EnvironmentConfig(), verify=verify, stack=on)


@pytest.mark.parametrize(
    "toml",
    [
        IMAGE_TOML,
        IMAGE_TOML + PUBLIC + "[agent]\n" + PUBLIC,
        IMAGE_TOML + NONE,
        IMAGE_TOML + "allow_internet = false\n",
        IMAGE_TOML + NONE + "[agent]\n" + NONE + "[verifier]\n" + NONE,
        IMAGE_TOML + '[verifier.environment]\ndocker_image = "a"\n' + NONE,
        IMAGE_TOML + NONE + '[verifier.environment]\ndocker_image = "a"\n',
        IMAGE_TOML + '[verifier]\nenvironment_mode = "separate"\n[verifier.environment]\ndocker_image = "a"\n' + NONE,
        STEP + IMAGE_TOML + NONE,
    ],
)
def test_what_can_run_where_networks_are_enforced(tmp_path: Path, toml: str) -> None:
    """One network for all that runs in a pod; a verifier with a pod of its own has its own."""
    assert reasons(make_task(tmp_path, toml=toml, files=STEP_FILES), stack("namespace")) == []


@pytest.mark.parametrize("on", [None, stack("none")], ids=["no stack", "one that enforces nothing"])
@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (IMAGE_TOML + NONE, "[environment]"),
        (IMAGE_TOML + "allow_internet = false\n", "[environment]"),
        (IMAGE_TOML + '[verifier.environment]\ndocker_image = "a"\n' + NONE, "[verifier.environment]"),
        (
            STEP + '[steps.verifier.environment]\ndocker_image = "a"\n' + NONE + IMAGE_TOML,
            "[steps.one.verifier.environment]",
        ),
    ],
)
def test_no_network_is_refused_where_nothing_enforces_it(
    tmp_path: Path, toml: str, place: str, on: Stack | None
) -> None:
    """Rather than run with one: by its place, with what to do."""
    (reason,) = reasons(make_task(tmp_path, toml=toml, files=STEP_FILES), on)
    assert reason.startswith(f"{place} asks for network_mode 'no-network', which this stack does not enforce")
    assert "deploy --isolation" in reason


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (IMAGE_TOML + "[agent]\n" + NONE, "[agent]"),
        (IMAGE_TOML + NONE + "[agent]\n" + PUBLIC, "[agent]"),
        (IMAGE_TOML + NONE + "[verifier]\n" + PUBLIC, "[verifier]"),
        (IMAGE_TOML + "[verifier]\n" + NONE + '[verifier.environment]\ndocker_image = "a"\n', "[verifier]"),
        (STEP + "[steps.agent]\n" + NONE + IMAGE_TOML, "[steps.one.agent]"),
        (STEP + "[steps.verifier]\n" + PUBLIC + IMAGE_TOML + NONE, "[steps.one.verifier]"),
    ],
)  # fmt: skip
def test_a_pods_network_does_not_change(tmp_path: Path, toml: str, place: str) -> None:
    """Whoever asks for another one than its pod has is named, also where no network can be enforced."""
    found = reasons(make_task(tmp_path, toml=toml, files=STEP_FILES), stack("security-group", hub=f"{REGISTRY}/hub"))
    changes = [reason for reason in found if "cannot be changed while it runs" in reason]
    assert len(changes) == 1
    assert changes[0].startswith(f"{place} asks for network_mode")


@pytest.mark.parametrize("level", ["", "[agent]\n", "[verifier]\n"])
def test_lists_of_hosts_are_refused(tmp_path: Path, level: str) -> None:
    """On every stack, once, with the reason."""
    (reason,) = reasons(make_task(tmp_path, toml=IMAGE_TOML + level + LIST), stack("namespace"))
    assert "asks for network_mode 'allowlist', which nothing here enforces" in reason


@pytest.mark.parametrize(
    ("image", "hub", "can"),
    [
        ("ubuntu:24.04", None, False),
        ("ubuntu:24.04", f"{REGISTRY}/team-hub", True),
        ("ghcr.io/a/b:1", f"{REGISTRY}/team-hub", False),
        (f"{REGISTRY}/mine:1", None, True),
        (None, None, True),
    ],
)
def test_an_image_must_come_from_ecr(tmp_path: Path, image: str | None, hub: str | None, can: bool) -> None:
    """A pod's image comes by its own interface, so without a network from the stack's registry alone; a pod that has
    one, or that is isolated by a namespace, takes any."""
    toml = "[environment]\n" + (f'docker_image = "{image}"\n' if image else "")
    task = make_task(tmp_path, toml=toml + NONE, files={"environment/Dockerfile": "FROM a"})
    found = reasons(task, stack("security-group", hub=hub))
    assert (found == []) is can
    assert all(f"come from {REGISTRY} alone, and {image} does not" in reason for reason in found)
    assert reasons(task, stack("namespace", hub=hub)) == []
    public = make_task(tmp_path, "public", toml=toml, files={"environment/Dockerfile": "FROM a"})
    assert reasons(public, stack("security-group", hub=hub)) == []


def test_without_verification_the_verifiers_pod_does_not_count(tmp_path: Path) -> None:
    """It is not made."""
    toml = IMAGE_TOML + '[verifier.environment]\ndocker_image = "a"\n' + NONE
    assert reasons(make_task(tmp_path, toml=toml), stack("none"), verify=False) == []


async def test_nothing_is_enqueued_that_would_have_a_network(tmp_path: Path) -> None:
    """A job is planned on a stack that isolates, and refused on one that does not."""
    make_task(tmp_path / "dataset", toml=IMAGE_TOML + NONE)

    async def planned(isolation: Isolation) -> int:
        config = JobConfig.model_validate({"job_name": "job", "datasets": [{"path": tmp_path / "dataset"}]})
        directory = tmp_path / isolation
        directory.mkdir()
        return len((await prepare(config, directory=directory, attempts=3, stack=stack(isolation))).trials)

    assert await planned("namespace") == 1
    with pytest.raises(RefusedError, match="this stack does not enforce"):
        await planned("none")
