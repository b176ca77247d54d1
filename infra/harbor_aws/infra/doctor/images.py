"""The workers' image: whether it is there, and of which version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import MissingError, ask, in_background
from harbor_aws.infra.doctor.check import ON_AWS, Check
from harbor_aws.infra.doctor.deployed_workers import image_of, workers_deployment
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.registry import ecr_image
from harbor_aws.infra.worker_image.context import worker_context
from harbor_aws.infra.worker_image.installed import DISTRIBUTION, recipe

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

HARBOR = "harbor"


async def _image(subject: Subject) -> Outcome:
    name = image_of(await workers_deployment(subject))
    image = ecr_image(name)
    if image is None:
        return Outcome.skipped(f"{name} is in another registry than ECR")
    try:
        await ask(
            "ecr:DescribeImages",
            lambda: subject.ecr().describe_images(
                registryId=image.registry, repositoryName=image.repository, imageIds=[image.id]
            ),
        )
    except MissingError:
        return Outcome.failed(f"ECR has no {name}: no worker starts", f"harbor-aws deploy{subject.option} builds it")
    return Outcome.ok(f"ECR has {image.repository}:{image.tag or image.digest}")


async def _version(subject: Subject) -> Outcome:
    if "WorkerImage" in subject.outputs:
        return Outcome.skipped(f"the user brought it: {subject.outputs['WorkerImage']}")
    name, here = image_of(await workers_deployment(subject)), (await in_background(worker_context)).tag
    there = name.rpartition(":")[2]
    if there != here:
        return Outcome.warning(
            f"workers run {name}, which is not built from the {here} that is installed here",
            f"`harbor-aws deploy{subject.option}` brings workers to this version; or install theirs here.",
        )
    return Outcome.ok(f"workers run {here}, as it is installed here")


async def _versions(_: Subject) -> Outcome:
    """Harbor here plans the trials, Harbor in the image runs them."""
    try:
        here = version(HARBOR)
    except PackageNotFoundError:
        return Outcome.failed("harbor is not installed", f"pip install {DISTRIBUTION}")
    there = _pinned(recipe()["requirements.txt"].decode())
    evidence = f"{DISTRIBUTION} {version(DISTRIBUTION)}, {HARBOR} {here}"
    if here != there:
        return Outcome.warning(
            f"{evidence}, but the workers' image has {HARBOR} {there}: trials are planned by one and run by the other",
            f"pip install {HARBOR}=={there}",
        )
    return Outcome.ok(f"{evidence} here and in the workers' image")


def _pinned(requirements: str) -> str:
    pins = (line.split()[0].partition("==") for line in requirements.splitlines() if "==" in line)
    return next(number for name, _, number in pins if name.strip() == HARBOR)


_AGAIN = "Let this machine reach ECR and the cluster's API; run doctor again."

CHECKS = (
    Check(
        id="versions",
        title="Harbor is the same here and in the workers' image",
        look=_versions,
        fix=f"Install {DISTRIBUTION} anew.",
    ),
    Check(
        id="worker-image",
        title="The workers' image is in ECR",
        look=_image,
        fix=_AGAIN,
        needs=("worker-deployment",),
        applies_to=ON_AWS,
    ),
    Check(
        id="worker-version",
        title="Workers are of the version that is installed here",
        look=_version,
        fix=_AGAIN,
        needs=("worker-deployment",),
        applies_to=ON_AWS,
    ),
)
