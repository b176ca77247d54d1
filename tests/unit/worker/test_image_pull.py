"""Why an image was not pulled, in the very words of those who could not."""

from __future__ import annotations

from typing import Any

import pytest

from harbor_aws.infra.errors import (
    CapacityError,
    ImageMissingError,
    ImageNameError,
    ImagePullError,
    ImageRefusedError,
    ImageTooLargeError,
    PermanentError,
    PodFailedError,
    PullRateError,
    RegistryError,
    WrongArchitectureError,
)
from harbor_aws.producer.dead_letters.pod_end import PodEvent
from harbor_aws.worker.image_pull import (
    PERMANENT_PATIENCE_SECONDS,
    architecture_failure,
    image_failure,
    image_patience_seconds,
)
from harbor_aws.worker.pod_failure import end_error, ended_before_start, start_error
from harbor_aws.worker.pod_status import end_of

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
BUILT = f"{REGISTRY}/team/environments:{'0123456789abcdef' * 2}"


def waiting(message: str, *, reason: str = "ErrImagePull", image: str = "org/name:v1") -> dict[str, Any]:
    """A pod on its node, whose container waits."""
    return {
        "metadata": {"name": "pod"},
        "spec": {"nodeName": "fargate-1", "containers": [{"image": image}]},
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}],
        },
    }


def ended(message: str, *, seconds: int) -> dict[str, Any]:
    """A pod whose container lived so long."""
    times = {"startedAt": "2026-11-23T12:00:00Z", "finishedAt": f"2026-11-23T12:00:{seconds:02}Z"}
    terminated = {"reason": "Error", "exitCode": 255, "message": message, **times}
    return {
        "metadata": {"name": "pod"},
        "spec": {"nodeName": "fargate-1"},
        "status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]},
    }


def unpack(image: str) -> str:
    return f'failed to pull and unpack image "{image}": '


def resolve(image: str) -> str:
    return f'{unpack(image)}failed to resolve reference "{image}": '


TEXTS = {
    # aws-samples/eks-alb-istio-with-tls#7, aquasecurity/starboard#1161, rapidsai/deployment#409
    "a tag that is not there": (
        f"rpc error: code = NotFound desc = {resolve('docker.io/org/name:v1')}docker.io/org/name:v1: not found",
        ImageMissingError,
    ),
    "docker's engine": (
        "rpc error: code = Unknown desc = Error response from daemon: manifest for org/name:v1 not found: "
        "manifest unknown: manifest unknown",
        ImageMissingError,
    ),
    # aws-samples/eks-alb-istio-with-tls#7
    "a repository of ECR that is not there": (
        f"rpc error: code = Unknown desc = {resolve(REGISTRY + '/x')}unexpected status code: name unknown: The "
        "repository with name 'x' does not exist in the registry with id '123456789012'",
        ImageMissingError,
    ),
    # codefactoryhu/manifest#11: it ends as what is not there does
    "an index without our platform": (
        f"rpc error: code = NotFound desc = {unpack('ghcr.io/org/name:v1')}no match for platform in manifest: "
        "not found",
        WrongArchitectureError,
    ),
    # link-assistant/hive-mind#962
    "the same of docker's engine": (
        "Error response from daemon: no matching manifest for linux/amd64 in the manifest list entries",
        WrongArchitectureError,
    ),
    # namespacelabs/foundation#846
    "Docker Hub's limit": (
        f"rpc error: code = Unknown desc = {unpack('docker.io/org/name@sha256:8d')}failed to copy: httpReadSeeker: "
        "failed open: unexpected status code https://registry-1.docker.io/v2/org/name/manifests/sha256:8d: 429 Too "
        "Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.",
        PullRateError,
    ),
    # docker/hub-feedback#2464
    "the same without a login": (
        "toomanyrequests: You have reached your unauthenticated pull rate limit. "
        "https://www.docker.com/increase-rate-limit",
        PullRateError,
    ),
    # aws/aws-cdk#29876
    "ECR without a permission": (
        f"rpc error: code = Unknown desc = {resolve(REGISTRY + '/x:latest')}pulling from host {REGISTRY} failed with "
        "status code [manifests latest]: 403 Forbidden",
        ImageRefusedError,
    ),
    # kubernetes/community#4003
    "ECR without a login": (
        f"rpc error: code = Unknown desc = Error response from daemon: Get https://{REGISTRY}/v2/x/manifests/latest: "
        "no basic auth credentials",
        ImageRefusedError,
    ),
    "Docker Hub's word for what is private or not there": (
        f"rpc error: code = Unknown desc = {resolve('docker.io/org/name:v1')}pull access denied, repository does not "
        "exist or may require authorization: server message: insufficient_scope: authorization failed",
        ImageRefusedError,
    ),
    "GitHub's": (
        f"rpc error: code = Unknown desc = {resolve('ghcr.io/org/name:v1')}failed to authorize: failed to fetch "
        "anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=repository: 403 Forbidden",
        ImageRefusedError,
    ),
    # tableau/tableau-server-in-kubernetes#14, kubernetes-sigs/kind#1413
    "a layer that does not fit": (
        f"rpc error: code = Unknown desc = {unpack('org/name')}failed to extract layer sha256:3f: write "
        "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/26/fs/opt/x: no space left on device: "
        "unknown",
        ImageTooLargeError,
    ),
    # aws-samples/eks-workshop-v2#673
    "a registry that does not answer": (
        f"rpc error: code = Unknown desc = {resolve('public.ecr.aws/x:1')}failed to do request: Head "
        '"https://public.ecr.aws/v2/x/manifests/1": dial tcp 99.83.145.10:443: i/o timeout',
        RegistryError,
    ),
    "one that fails": (
        f"rpc error: code = Unknown desc = {resolve('quay.io/x')}unexpected status from HEAD request to "
        "https://quay.io/v2/x/manifests/latest: 503 Service Unavailable",
        RegistryError,
    ),
    "a token that does not come": (
        f"rpc error: code = DeadlineExceeded desc = {resolve('ghcr.io/x')}failed to authorize: failed to fetch "
        'anonymous token: Get "https://ghcr.io/token": net/http: TLS handshake timeout',
        RegistryError,
    ),
    "something new": ("rpc error: code = Unknown desc = the moon is in the wrong phase", ImagePullError),
}


@pytest.mark.parametrize(("message", "kind"), TEXTS.values(), ids=TEXTS)
def test_what_a_pull_says(message: str, kind: type[ImagePullError]) -> None:
    """It is named, in the container's state or, while the kubelet waits to try again, in an event."""
    events = [PodEvent(reason="Failed", message=f'Failed to pull image "org/name:v1": {message}')]
    back_off = waiting('Back-off pulling image "org/name:v1"', reason="ImagePullBackOff")
    newer = waiting(f'Back-off pulling image "x": ErrImagePull: {message}', reason="ImagePullBackOff")
    for error in (
        start_error("pod", waiting(message), after_seconds=40),
        start_error("pod", back_off, events, after_seconds=40),
        start_error("pod", newer, after_seconds=40),
    ):
        assert type(error) is kind
    assert message in str(start_error("pod", waiting(message), after_seconds=40))


def test_what_time_does_not_mend_is_not_tried_again() -> None:
    """Nor waited for as long; a limit of the registry's waits in the queue, and costs the trial nothing."""
    for message, kind in TEXTS.values():
        is_permanent = issubclass(kind, PermanentError)
        assert is_permanent == (kind not in {ImagePullError, PullRateError, RegistryError})
        patience = image_patience_seconds(waiting(message), otherwise=120)
        assert patience == (PERMANENT_PATIENCE_SECONDS if is_permanent else 120)
    assert issubclass(PullRateError, CapacityError)
    assert image_patience_seconds(waiting("x: not found"), otherwise=1) == 1


def test_the_newest_word_counts() -> None:
    """A registry that did not answer, and then has no such image."""
    events = [
        PodEvent(reason="Failed", message="dial tcp: i/o timeout"),
        PodEvent(reason="Failed", message="docker.io/org/name:v1: not found"),
        PodEvent(reason="BackOff", message='Back-off pulling image "org/name:v1"'),
        PodEvent(reason="FailedMount", message="no space left on device"),
    ]
    failure = image_failure(waiting("Back-off", reason="ImagePullBackOff"), events)
    assert failure
    assert failure.kind is ImageMissingError


def test_an_image_that_nobody_built_says_who_does() -> None:
    """One of the stack's own repository comes from a Dockerfile; any other from whoever named it."""
    message = f"rpc error: code = NotFound desc = {resolve(BUILT)}{BUILT}: not found"
    assert "`harbor-aws enqueue`" in str(start_error("pod", waiting(message, image=BUILT), after_seconds=40))
    assert "`docker_image`" in str(start_error("pod", waiting(message), after_seconds=40))


@pytest.mark.parametrize(
    ("reason", "message", "kind"),
    [
        ("InvalidImageName", 'couldn\'t parse image name "UPPER": invalid reference format', ImageNameError),
        ("RunContainerError", 'exec: "sh": exec /bin/sh: exec format error: unknown', WrongArchitectureError),
        ("CreateContainerError", "mkdir /run/x: no space left on device", ImageTooLargeError),
    ],
)
def test_other_words_for_waiting(reason: str, message: str, kind: type[ImagePullError]) -> None:
    """A name that is none, and a container that its image keeps from being made."""
    failure = image_failure(waiting(message, reason=reason))
    assert failure
    assert failure.kind is kind


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ContainerCreating", ""),
        ("CreateContainerError", "context deadline exceeded"),
        ("RunContainerError", 'exec: "sh": executable file not found in $PATH: unknown'),
        ("CreateContainerConfigError", "secret not found"),
    ],
)
def test_what_no_image_is_to_blame_for(reason: str, message: str) -> None:
    """Is left to others to name."""
    assert image_failure(waiting(message, reason=reason)) is None
    assert image_failure({"metadata": {}}) is None


def test_programs_of_another_processor() -> None:
    """The container ends as it begins, and its log alone says why (k3s-io/k3s#2419, containerd/containerd#12243)."""
    for text in (
        "exec /bin/sh: exec format error",
        'standard_init_linux.go:211: exec user process caused "exec format error"',
    ):
        pod = ended(text, seconds=1)
        end = end_of(pod)
        assert end
        error = ended_before_start(end_error("pod", pod, end))
        assert type(error) is WrongArchitectureError
        assert "linux/amd64" in str(error)


def test_what_a_container_that_lived_wrote_is_its_own() -> None:
    """Its processes may write whatever they like into its log, and decide nothing by it."""
    pod = ended("exec format error", seconds=30)
    end = end_of(pod)
    assert end
    assert type(end_error("pod", pod, end)) is PodFailedError
    assert architecture_failure(ended("killed", seconds=1)) is None
