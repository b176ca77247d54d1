"""Names of images in ECR."""

from __future__ import annotations

import pytest

from harbor_aws.infra.registry import EcrImage, ecr_image

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("reference", "tag", "digest", "id_"),
    [
        (f"{HOST}/team/worker:0.1.0-abc", "0.1.0-abc", None, {"imageTag": "0.1.0-abc"}),
        (f"{HOST}/team/worker", None, None, {"imageTag": "latest"}),
        (f"{HOST}/team/worker@{DIGEST}", None, DIGEST, {"imageDigest": DIGEST}),
        (f"{HOST}/team/worker:1@{DIGEST}", "1", DIGEST, {"imageDigest": DIGEST}),
    ],
)
def test_an_image_of_ecr(reference: str, tag: str | None, digest: str | None, id_: dict[str, str]) -> None:
    """Account, region, repository, and what tells the image from others; a digest before a tag."""
    image = ecr_image(reference)
    assert image == EcrImage("123456789012", "eu-west-1", "team/worker", tag, digest)
    assert image.id == id_


@pytest.mark.parametrize("host", [f"{HOST}.cn", "123456789012.dkr-ecr.eu-west-1.on.aws"])
def test_other_names_of_the_same_registry(host: str) -> None:
    """China's, and those of both IPv4 and IPv6."""
    image = ecr_image(f"{host}/worker:1")
    assert image
    assert (image.region, image.repository) == ("eu-west-1", "worker")


@pytest.mark.parametrize(
    "reference", ["python:3.12", "public.ecr.aws/docker/library/python:3.12", "ghcr.io/a/b", "evil.example/x.dkr.ecr/y"]
)
def test_images_of_other_registries(reference: str) -> None:
    """Are not ECR's to be asked for."""
    assert ecr_image(reference) is None
