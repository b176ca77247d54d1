"""The door to ECR, AWS's registry of images. Blocking."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from harbor_aws.infra.aws import Account, ecr_client
from harbor_aws.infra.aws_errors import translated
from harbor_aws.infra.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

_REFERENCE = re.compile(
    r"(?P<registry>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z.-]+/"
    r"(?P<repository>[a-z0-9/._-]+)(:(?P<tag>[\w.-]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html; also of China's regions and for IPv6."""

_MISSING = {"ImageNotFoundException", "RepositoryNotFoundException"}

MOST_PER_REQUEST = 100
"""Images that one BatchGetImage asks for. https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html"""


@dataclass(frozen=True, slots=True)
class EcrImage:
    """An image of ECR by its name."""

    registry: str
    """The account's number."""
    region: str
    repository: str
    tag: str | None
    digest: str | None
    """``sha256:…``, which decides if there is one."""

    @property
    def id(self) -> ImageIdentifierTypeDef:
        """As ECR's API has it."""
        return {"imageDigest": self.digest} if self.digest else {"imageTag": self.tag or "latest"}


def ecr_image(reference: str) -> EcrImage | None:
    """The image that a pod's ``image`` names; ``None`` if it is in another registry."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    return EcrImage(
        registry=match["registry"],
        region=match["region"],
        repository=match["repository"],
        tag=match["tag"],
        digest=match["digest"],
    )


def ecr_image_exists(image: EcrImage) -> bool:
    """Whether the repository has the image; asks the region that the image is in.

    Raises:
        CredentialsError: there are no credentials, or AWS does not take them.
        TransientError: ECR did not answer.
        PermanentError: it refuses.
    """
    with translated(f"look for the image {image.repository}:{image.tag or image.digest}"):
        try:
            ecr_client(Account(image.region)).describe_images(
                registryId=image.registry, repositoryName=image.repository, imageIds=[image.id]
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING:
                return False
            raise
    return True


def missing_tags(repository: str, tags: Iterable[str]) -> set[str]:
    """Those of ``tags`` under which the repository has no image; a request for each :data:`MOST_PER_REQUEST`.

    Args:
        repository: as pods' images name it, ``<registry>/<repository>``.

    Raises:
        CredentialsError: there are no credentials, or AWS does not take them.
        TransientError: ECR did not answer.
        PermanentError: it refuses, there is no such repository, or it is not one of ECR.
    """
    place = ecr_image(repository)
    if place is None:
        raise PermanentError(f"{repository} is not a repository of ECR.")
    client, missing = ecr_client(Account(place.region)), set[str]()
    for some in batched(sorted(set(tags)), MOST_PER_REQUEST):
        with translated(f"look for images in {place.repository}"):
            answer = client.batch_get_image(
                registryId=place.registry,
                repositoryName=place.repository,
                imageIds=[{"imageTag": tag} for tag in some],
            )
        there = {image["imageId"].get("imageTag") for image in answer.get("images", [])}
        missing |= set(some) - there
    return missing
