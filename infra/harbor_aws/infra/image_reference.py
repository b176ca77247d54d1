"""The names of images, as registries have them. Pure.

https://github.com/distribution/reference/blob/main/reference.go has the grammar, and ``normalize.go`` beside it what a
short name stands for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
"""The names that Docker Hub goes by; an image that names no registry is Docker Hub's, too."""

_OFFICIAL = "library"
"""Whose images of one word are."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REST = re.compile(
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?P<version>(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?)",
    re.ASCII,
)
_REGISTRY = re.compile(
    r"(?:(?!-)[A-Za-z0-9-]+(?<!-)(?:\.(?!-)[A-Za-z0-9-]+(?<!-))*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image by its whole name."""

    registry: str
    """A host with its port, if it has one."""
    path: str
    """The repository in the registry, of one word or several with slashes between them."""
    version: str
    """``:tag``, ``@sha256:…``, both or neither."""

    @property
    def is_docker_hubs(self) -> bool:
        return self.registry in DOCKER_HUB


def image_reference(text: str) -> ImageReference | None:
    """What ``text`` names, with all that it leaves out; ``None`` if it is no image's name."""
    first, slash, rest = text.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry, name = (first, rest) if has_registry else ("docker.io", text)
    match = _REST.fullmatch(name)
    if match is None or _REGISTRY.fullmatch(registry) is None:
        return None
    path = match["path"]
    if registry in DOCKER_HUB and "/" not in path:
        path = f"{_OFFICIAL}/{path}"
    return ImageReference(registry, path, match["version"])


def through_cache(text: str, prefix: str | None) -> str:
    """The name by which an image of Docker Hub is pulled through ECR's cache; any other name as it is.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-working-pulling.html

    Args:
        prefix: the cache's own, ``<registry>/<prefix>``; ``None`` if there is none.
    """
    reference = image_reference(text)
    if prefix is None or reference is None or not reference.is_docker_hubs:
        return text
    return f"{prefix}/{reference.path}{reference.version}"
