"""The names of images, and by which of them one is pulled."""

from __future__ import annotations

import pytest

from harbor_aws.infra.image_reference import ImageReference, image_reference, through_cache

CACHE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team-hub"
DIGEST = "@sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("python", "library/python"),
        ("python:3.12", "library/python:3.12"),
        ("python:3.12-slim_bookworm.1", "library/python:3.12-slim_bookworm.1"),
        (f"python{DIGEST}", f"library/python{DIGEST}"),
        (f"python:3.12{DIGEST}", f"library/python:3.12{DIGEST}"),
        ("library/python:3.12", "library/python:3.12"),
        ("org/name", "org/name"),
        ("org/name:v1", "org/name:v1"),
        (f"org/name{DIGEST}", f"org/name{DIGEST}"),
        ("org/deep/name:v1", "org/deep/name:v1"),
        ("swebench/sweb.eval.x86_64.django_1776_django-11099:latest",) * 2,
        ("a__b/c---d", "a__b/c---d"),
        ("docker.io/python", "library/python"),
        ("docker.io/library/python:3.12", "library/python:3.12"),
        ("docker.io/org/name", "org/name"),
        ("index.docker.io/python", "library/python"),
        ("index.docker.io/org/name:v1", "org/name:v1"),
        ("registry-1.docker.io/org/name", "org/name"),
    ],
)
def test_docker_hubs_images_go_through_the_cache(image: str, pulled: str) -> None:
    """However they are written, with the words that a short name leaves out."""
    assert through_cache(image, CACHE) == f"{CACHE}/{pulled}"
    assert through_cache(image, None) == image


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/org/name:v1",
        f"quay.io/org/name{DIGEST}",
        "public.ecr.aws/docker/library/python:3.12",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/environments:0123",
        f"{CACHE}/library/python:3.12",
        "localhost/name",
        "localhost:5000/name:v1",
        "registry:5000/name",
        "registry:5000/org/name:v1",
        "[::1]:5000/name",
        "docker.io.example.org/name",
        "Registry/name",
    ],
)
def test_other_registries_are_asked_themselves(image: str) -> None:
    """A cache of Docker Hub has nothing of theirs, not even where the name looks like Docker Hub's."""
    assert through_cache(image, CACHE) == image
    assert image_reference(image) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        ":",
        "Python",
        "python:",
        "python@sha256:12",
        "org//name",
        "-a/b",
        "a b",
        "python:" + "t" * 129,
        "ümlaut",
    ],
)
def test_what_is_no_name_stays_as_it_is(text: str) -> None:
    """The cluster refuses it, and says why in its own words."""
    assert image_reference(text) is None
    assert through_cache(text, CACHE) == text


def test_a_name_is_read_whole() -> None:
    """Registry with its port, path and version."""
    assert image_reference("host.example:443/a/b:v1") == ImageReference("host.example:443", "a/b", ":v1")
    assert image_reference("python") == ImageReference("docker.io", "library/python", "")
