"""Why an image was not pulled, or does not run, as the error that says what to do. Pure.

The texts are containerd's and runc's, which the kubelet hands on in the container's state and in events, and the
registries' own within them. Read on 2026-11-23 in what people reported; each is in the tests with its source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import (
    ImageMissingError,
    ImageNameError,
    ImagePullError,
    ImageRefusedError,
    ImageTooLargeError,
    PermanentError,
    PullRateError,
    RegistryError,
    WrongArchitectureError,
)
from harbor_aws.worker.pod_status import Reason, last_container_state, waiting_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harbor_aws.producer.dead_letters.pod_end import PodEvent

Json = dict[str, Any]

PERMANENT_PATIENCE_SECONDS = 35.0
"""How long a pod is waited for whose image fails in a way that time does not mend: the kubelet tries twice more within
it, 10 and 30 s after the first time. https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff"""

AT_ONCE_SECONDS = 5.0
"""A container that ends so soon after it began never waited for commands."""

_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "RegistryUnavailable"}
"""Reasons of waiting for an image: kubernetes/pkg/kubelet/images/types.go"""

_CONTAINER_REASONS = {"CreateContainerError", "RunContainerError"}
"""Reasons of waiting for a container, some of which its image is to blame for."""


@dataclass(frozen=True, slots=True)
class ImageFailure:
    """What is the matter with an image."""

    kind: type[ImagePullError]
    advice: str


_RATE = ImageFailure(
    PullRateError,
    "The registry allows no more pulls for now. Docker Hub's limit is of 6 hours: `harbor-aws deploy "
    "--docker-hub-secret` pulls its images through a cache, each once.",
)
_ARCHITECTURE = ImageFailure(
    WrongArchitectureError,
    "The image is not made for linux/amd64, and Fargate on EKS has nothing else: build it with `docker buildx build "
    "--platform linux/amd64`, or name another.",
)
_SPACE = ImageFailure(
    ImageTooLargeError,
    "The image does not fit into the pod's storage, where it is unpacked too: give the task more (`storage_mb` in its "
    "task.toml, up to 175 GiB) or the job (`--override-storage-mb`).",
)
_REGISTRY = ImageFailure(
    RegistryError,
    "The registry did not answer, or not to the end. If it goes on, `harbor-aws doctor` looks at the pods' way out.",
)
_REFUSED = ImageFailure(
    ImageRefusedError,
    "The registry does not give it to this stack: it does not exist there, or is private. Pods pull public images, and "
    "those of this account's ECR; for another account's, its repository's policy must let this stack's pod execution "
    "role pull.",
)
_MISSING = ImageFailure(
    ImageMissingError,
    "The registry has no such image: put `docker_image` in the task's task.toml right, and enqueue it anew.",
)
_NOT_BUILT = ImageFailure(
    ImageMissingError,
    "It is built from the task's Dockerfile, and workers do not build: `harbor-aws enqueue` of the task does, before "
    "it sends anything; if it does not, `harbor-aws deploy` brings the stack up to date first.",
)
_NAME = ImageFailure(
    ImageNameError, "That is no image's name: put `docker_image` in the task's task.toml right, and enqueue it anew."
)

_KNOWN = tuple(
    (re.compile(pattern, re.IGNORECASE), failure)
    for pattern, failure in (
        (r"toomanyrequests|429 too many requests|pull rate limit|rate exceeded", _RATE),
        (r"no match for platform|no matching manifest for|exec format error", _ARCHITECTURE),
        (r"no space left on device|disk quota exceeded", _SPACE),
        (
            r"i/o timeout|tls handshake timeout|deadline ?exceeded|dial tcp|connection (refused|reset|timed out)"
            r"|no such host|server misbehaving|unexpected eof|: eof\b|context canceled|request canceled"
            r"|\b50\d (internal|bad|service|gateway)",
            _REGISTRY,
        ),
        (
            r"pull access denied|no basic auth credentials|authorization failed|insufficient_scope|unauthorized"
            r"|failed to authorize|requested access to the resource is denied|\b403 forbidden|access ?denied",
            _REFUSED,
        ),
        (r"manifest unknown|name unknown|code = notfound|does not exist|: not found\b", _MISSING),
        (r"invalid ?image ?name|couldn't parse image|invalid reference format", _NAME),
    )
)
"""What is said, in whatever case, and what it means: the first that is found, for a text may have several. That no
platform matches, say, is a kind of ``not found``."""

_BUILT = re.compile(r"\d{12}\.dkr[.-]ecr[^/]*/.+/environments:[0-9a-f]{32}")
"""An image of a stack's own repository: its tag is Harbor's hash of the environment."""


def image_failure(pod: Json, events: Sequence[PodEvent] = ()) -> ImageFailure | None:
    """What is the matter with the image of a pod that does not run yet; ``None`` if it is not the image.

    Args:
        pod: the newest object that is known of it.
        events: its last, the oldest first. While the kubelet waits to try again, they alone may tell why.
    """
    reason = waiting_reason(pod)
    if reason is None or reason.word not in _PULL_REASONS | _CONTAINER_REASONS:
        return None
    known = next((failure for text in _texts(reason, events) if (failure := _known(text))), None)
    if reason.word in _CONTAINER_REASONS:
        return known if known in (_ARCHITECTURE, _SPACE) else None
    if known is _MISSING and _BUILT.fullmatch(_image(pod)):
        return _NOT_BUILT
    return known or ImageFailure(ImagePullError, "")


def image_patience_seconds(pod: Json, *, otherwise: float) -> float:
    """How long a pod is waited for whose image fails: ``otherwise``, unless it is known that nothing will mend it."""
    failure = image_failure(pod)
    is_permanent = failure is not None and issubclass(failure.kind, PermanentError)
    return min(otherwise, PERMANENT_PATIENCE_SECONDS) if is_permanent else otherwise


def architecture_failure(pod: Json) -> ImageFailure | None:
    """Whether a pod's container ended at once because its programs are another processor's.

    runc says so in the container's log, the end of which the kubelet makes the container's message. What a container
    that lived longer has there, its own processes may have written.
    """
    terminated = last_container_state(pod).get("terminated") or {}
    if not _ended_at_once(terminated) or "exec format error" not in (terminated.get("message") or ""):
        return None
    return _ARCHITECTURE


def _known(text: str) -> ImageFailure | None:
    return next((failure for pattern, failure in _KNOWN if pattern.search(text)), None)


def _texts(reason: Reason, events: Sequence[PodEvent]) -> Iterator[str]:
    """What may tell why, the newest first."""
    yield f"{reason.word}: {reason.message}"
    yield from (event.message for event in reversed(events) if event.reason in {"Failed", "BackOff", "InspectFailed"})


def _image(pod: Json) -> str:
    containers = pod.get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _ended_at_once(terminated: Json) -> bool:
    try:
        began, ended = (datetime.fromisoformat(terminated[key]) for key in ("startedAt", "finishedAt"))
    except (KeyError, TypeError, ValueError):
        return False  # one that never began has no times, and is waiting rather than terminated
    return (ended - began).total_seconds() <= AT_ONCE_SECONDS
