"""The text of Fargate's annotation on a pod."""

from __future__ import annotations

import pytest

from harbor_aws.infra.capacity_provisioned import parse_capacity
from harbor_aws.infra.fargate import FargateSize, sizes


@pytest.mark.parametrize("size", sizes(), ids=str)
def test_every_size_is_read_back(size: FargateSize) -> None:
    """All that Fargate may provision is understood, to the MiB."""
    text = f"{size.cpu_millis / 1000:g}vCPU {size.memory_mib / 1024:g}GB"
    assert parse_capacity(text) == size


@pytest.mark.parametrize(
    ("text", "cpu_millis", "memory_mib"),
    [
        ("0.25vCPU 0.5GB", 250, 512),  # AWS's own example
        (".5vCPU 1GB", 500, 1024),
        ("2vCPU 9GB", 2000, 9216),
        ("16vCPU 120GB", 16000, 122880),
    ],
)
def test_the_forms_that_are_seen(text: str, cpu_millis: int, memory_mib: int) -> None:
    """Texts as AWS's documentation and its users' pods have them."""
    assert parse_capacity(text, storage_gib=30) == FargateSize(cpu_millis, memory_mib, 30)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.25vCPU",
        "0.5GB",
        "0vCPU 1GB",
        "1vCPU 0GB",
        "1vCPU  2GB",
        "1vCPU 2GB\n",
        " 1vCPU 2GB",
        "1 vCPU 2 GB",
        "1vCPU 2GiB",
        "1vcpu 2gb",
        "-1vCPU 2GB",
        "1e3vCPU 2GB",
        "nanvCPU infGB",
        "1.vCPU 2GB",
        "1.2.3vCPU 2GB",
        "١vCPU ٢GB",
        "99999999999vCPU 2GB",
        "1vCPU 2GB 20GB",
    ],
)
def test_what_makes_no_sense_names_no_size(text: str) -> None:
    """A malformed text is not half understood."""
    assert parse_capacity(text) is None
