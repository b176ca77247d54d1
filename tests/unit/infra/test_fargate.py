"""Fargate's sizes."""

from __future__ import annotations

import pytest

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.fargate import LARGEST, FargateSize, size_for, sizes


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((None, None, None), FargateSize(1000, 3 * 1024)),
        ((1, 2048, 10240), FargateSize(1000, 3 * 1024)),
        ((0.25, 256, None), FargateSize(250, 512)),
        ((0.25, 257, None), FargateSize(250, 1024)),
        ((1, 8192, None), FargateSize(2000, 9 * 1024)),  # AWS's own example: the overhead makes it 2 vCPU and 9 GB
        ((3, 4096, None), FargateSize(4000, 8 * 1024)),
        ((1, 20 * 1024, None), FargateSize(4000, 21 * 1024)),
        ((16, 100 * 1024, 175 * 1024), FargateSize(16000, 104 * 1024, 175)),
        ((1, 1024, 20 * 1024 + 1), FargateSize(1000, 2 * 1024, 21)),
    ],
)
def test_the_smallest_size_that_holds_a_task(
    wanted: tuple[float | None, int | None, int | None], expected: FargateSize
) -> None:
    """The overhead counts, CPU is rounded up, and memory can make a larger CPU necessary."""
    assert size_for(*wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ((17, None, None), "17 CPUs"),
        ((None, 120 * 1024, None), "122880 MiB of memory"),
        ((None, None, 176 * 1024), "176 GiB of storage"),
        ((32, 999_999, None), "32 CPUs .*999999 MiB"),
    ],
)
def test_more_than_the_largest_is_refused(wanted: tuple[float | None, int | None, int | None], said: str) -> None:
    """What no size holds is refused, and the message says what is too much."""
    with pytest.raises(PermanentError, match=said):
        size_for(*wanted)


def test_every_size_is_reached_exactly() -> None:
    """A container that asks for all that a size leaves it gets that size and no larger one."""
    for size in sizes():
        assert size_for(size.cpu_millis / 1000, size.container_memory_mib, None) == size
    assert len(sizes()) == 3 + 4 + 7 + 13 + 23 + 12 + 12
    assert max(sizes()).memory_mib == LARGEST.memory_mib
