"""The manifest of a trial's pod."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harbor_aws.infra.fargate import FargateSize
from harbor_aws.infra.labels import STACK_LABEL, label_value, stack_selector
from harbor_aws.worker.pod_spec import PodOwner, PodRequest, owner_selector, pod_manifest, worker_selector

LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def owner(**changes: str | None) -> PodOwner:
    fields: dict[str, Any] = {
        "job": "job",
        "trial": "trial",
        "attempt_id": "01-a",
        "worker": "w",
        "session": "trial__env",
        "stack": "s",
    }
    return PodOwner(**{**fields, **changes})


@pytest.mark.parametrize("text", ["simple", "with.dots_and-dashes", "A" * 63])
def test_a_name_that_is_a_label_stays_itself(text: str) -> None:
    """So that `kubectl get pods -l harbor-aws/trial=NAME` works with the name as it is."""
    assert label_value(text) == text


@pytest.mark.parametrize("text", ["a/b c", "A" * 64, "_x_", "ü" * 40, "org/name@sha256:abc", "-", ""])
def test_any_name_becomes_a_label(text: str) -> None:
    """A name that Kubernetes would refuse becomes one that it takes."""
    assert LABEL.match(label_value(text))


def test_different_names_have_different_labels() -> None:
    """What was cut or replaced is told apart by a digest."""
    names = ["a/b", "a-b", "a b", "A" * 70, "A" * 71]
    assert len({label_value(name) for name in names}) == len(names)


@pytest.mark.parametrize("session", ["Hello-World__bZZeEkw__env", "x" * 200, "__", "ü"])
def test_a_pods_name_is_one(session: str) -> None:
    """Whatever Harbor's session is called, the pod's name is a DNS label, and the same every time."""
    name = owner(session=session).pod_name
    assert NAME.match(name)
    assert name == owner(session=session).pod_name


def test_every_attempt_and_environment_has_its_own_pod() -> None:
    """Another attempt, another environment of the trial, another job: another name."""
    owners = [owner(), owner(attempt_id="02-b"), owner(session="trial__verifier__x"), owner(job="other")]
    assert len({each.pod_name for each in owners}) == len(owners)
    assert [each.role for each in owners] == ["agent", "agent", "verifier", "agent"]


def test_the_manifest() -> None:
    """One container as root that only waits, requests equal to limits; labels say whose it is."""
    request = PodRequest(
        owner=owner(trial="a/b"), image="image", size=FargateSize(1000, 3072), deadline_seconds=99, memory_mib=2048
    )
    manifest = pod_manifest(request)
    metadata, spec = manifest["metadata"], manifest["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"] == {"cpu": "1", "memory": "2048Mi"}
    assert container["securityContext"] == {"runAsUser": 0, "runAsGroup": 0}
    assert "env" not in container
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 99)
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert metadata["annotations"]["harbor-aws/trial"] == "a/b"
    labels = [f"{key}={value}" for key, value in metadata["labels"].items()]
    assert set(owner_selector(job="job", trial="a/b").split(",")) <= set(labels)
    assert worker_selector("w") in labels
    assert set(stack_selector("s").split(",")) <= set(labels)


def test_a_pod_of_no_stack_says_none() -> None:
    """So that no reaper takes it for its stack's."""
    request = PodRequest(owner=owner(stack=None), image="i", size=FargateSize(250, 512), deadline_seconds=1)
    assert STACK_LABEL not in pod_manifest(request)["metadata"]["labels"]


def test_a_task_that_asks_for_nothing_gets_all_of_its_size() -> None:
    """What Fargate bills and the task does not need otherwise is not left unused."""
    request = PodRequest(owner=owner(), image="i", size=FargateSize(250, 512), deadline_seconds=1, storage_mib=1024)
    resources = pod_manifest(request)["spec"]["containers"][0]["resources"]["limits"]
    assert resources == {"cpu": "250m", "memory": "256Mi", "ephemeral-storage": "1024Mi"}
