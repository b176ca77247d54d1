"""Sizing and prices over every combination, against AWS's own tables as written out here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import product

import pytest

from harbor_aws.infra.errors import PermanentError
from harbor_aws.infra.fargate import FargateSize, cpu_millis, size_for, sizes
from harbor_aws.infra.fargate_prices import pod_usd_per_hour, usd

PUBLISHED = """
.25 vCPU | 0.5 GB, 1 GB, 2 GB
.5 vCPU  | 1 GB, 2 GB, 3 GB, 4 GB
1 vCPU   | 2 GB, 3 GB, 4 GB, 5 GB, 6 GB, 7 GB, 8 GB
2 vCPU   | Between 4 GB and 16 GB in 1-GB increments
4 vCPU   | Between 8 GB and 30 GB in 1-GB increments
8 vCPU   | Between 16 GB and 60 GB in 4-GB increments
16 vCPU  | Between 32 GB and 120 GB in 8-GB increments
"""
"""https://docs.aws.amazon.com/eks/latest/userguide/fargate-pod-configuration.html, read on 2026-11-23."""

VCPU_HOUR, GB_HOUR, STORAGE_GB_HOUR = Decimal("0.04048"), Decimal("0.004445"), Decimal("0.000111")
"""us-east-1, Linux on x86. https://aws.amazon.com/fargate/pricing/, as known on 2026-11-22."""

PRICED_BY_HAND = {
    (".25", "0.5"): "0.0123425",
    (".25", "2"): "0.01901",
    (".5", "4"): "0.03802",
    ("1", "2"): "0.04937",
    ("1", "8"): "0.07604",
    ("2", "16"): "0.15208",
    ("4", "30"): "0.29527",
    ("8", "60"): "0.59054",
    ("16", "32"): "0.78992",
    ("16", "120"): "1.18108",
}
"""vCPU, GB, dollars an hour."""


@dataclass(frozen=True)
class Published:
    vcpu: Decimal
    gb: Decimal

    @property
    def usd_per_hour(self) -> Decimal:
        return self.vcpu * VCPU_HOUR + self.gb * GB_HOUR


def _memories(text: str) -> list[Decimal]:
    between = re.fullmatch(r"Between (\d+) GB and (\d+) GB in (\d+)-GB increments", text)
    if between is None:
        return [Decimal(entry.removesuffix(" GB")) for entry in text.split(", ")]
    low, high, step = map(int, between.groups())
    return [Decimal(gb) for gb in range(low, high + 1, step)]


TABLE = [
    Published(Decimal(vcpu.removesuffix(" vCPU")), gb)
    for vcpu, memories in (map(str.strip, line.split("|")) for line in PUBLISHED.strip().splitlines())
    for gb in _memories(memories)
]
BY_PRICE = sorted(TABLE, key=lambda entry: entry.usd_per_hour)

MILLIS = sorted({int(entry.vcpu * 1000) for entry in TABLE})
ASKED_CPUS = [None, 0.0, 0.1, 1.5, *(millis / 1000 + change for millis in MILLIS for change in (-0.001, 0, 0.0001))]
ASKED_MEMORY_MIB = [
    None,
    0,
    *(int(gb * 1024) - 256 + change for gb in sorted({entry.gb for entry in TABLE}) for change in (-1, 0, 1)),
]
ASKED_STORAGE_MIB = [
    None,
    0,
    10 * 1024,
    *(gib * 1024 + change for gib in (20, 21, 100, 175) for change in (-1, 0, 1)),
]


def cheapest(cpus: float | None, memory_mib: int | None) -> Published | None:
    """The cheapest entry of the table that holds this, by looking at every one."""
    vcpu = Decimal(str(1 if cpus is None else cpus))
    gb = (Decimal(2048 if memory_mib is None else memory_mib) + 256) / 1024
    return next((entry for entry in BY_PRICE if entry.vcpu >= vcpu and entry.gb >= gb), None)


def test_our_sizes_are_the_published_ones() -> None:
    """Not one more, not one less."""
    assert [(Decimal(size.cpu_millis) / 1000, Decimal(size.memory_mib) / 1024) for size in sizes()] == [
        (entry.vcpu, entry.gb) for entry in TABLE
    ]
    assert len(TABLE) == 74


def test_every_combination_gets_the_cheapest_size_that_holds_it() -> None:
    """CPU and memory on, just below and just above every step: the size holds them and no published one is cheaper."""
    fitting = refused = 0
    for cpus, memory in product(ASKED_CPUS, ASKED_MEMORY_MIB):
        expected = cheapest(cpus, memory)
        if expected is None:
            with pytest.raises(PermanentError, match="more than Fargate's largest size"):
                size_for(cpus, memory, None)
            refused += 1
        else:
            size = size_for(cpus, memory, None)
            assert size == FargateSize(int(expected.vcpu * 1000), int(expected.gb * 1024)), (cpus, memory)
            fitting += 1
    assert fitting > 2000
    assert refused >= len(ASKED_CPUS) + len(ASKED_MEMORY_MIB) - 1


@pytest.mark.parametrize("storage", ASKED_STORAGE_MIB)
def test_storage_is_independent_of_the_rest(storage: int | None) -> None:
    """Every size has 20 GiB, and whole ones up to 175 if it is asked for more; above that is refused."""
    for entry in TABLE:
        cpus, memory = float(entry.vcpu), int(entry.gb * 1024) - 256
        if storage is not None and storage > 175 * 1024:
            with pytest.raises(PermanentError, match=r": 176 GiB of storage \(at most 175\)\.$"):
                size_for(cpus, memory, storage)
            continue
        size = size_for(cpus, memory, storage)
        assert (size.cpu_millis, size.memory_mib) == (int(entry.vcpu * 1000), int(entry.gb * 1024))
        assert size.storage_gib * 1024 >= (storage or 0)
        assert size.storage_gib == 20 or (size.storage_gib - 1) * 1024 < (storage or 0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((16.0004, None, None), "16.001 CPUs (at most 16)."),
        ((None, 122_625, None), "122625 MiB of memory (at most 122624)."),
        ((17, 122_625, None), "17 CPUs (at most 16), 122625 MiB of memory (at most 122624)."),
        ((17, None, 180_225), "17 CPUs (at most 16), 177 GiB of storage (at most 175)."),
    ],
)
def test_what_is_too_much_is_said(asked: tuple[float | None, int | None, int | None], said: str) -> None:
    """Only that, and how much there is at most."""
    with pytest.raises(PermanentError) as refused:
        size_for(*asked)
    assert str(refused.value) == f"The task asks for more than Fargate's largest size: {said}"


@pytest.mark.parametrize("asked", [(-1, None, None), (float("nan"), None, None), (None, -1, None), (None, None, -5)])
def test_no_amount_is_refused(asked: tuple[float | None, int | None, int | None]) -> None:
    """A negative request would only be refused by the cluster, once for every trial."""
    with pytest.raises(PermanentError, match="which is no amount"):
        size_for(*asked)


@pytest.mark.parametrize(
    ("cpus", "millis"), [(0.1, 250), (0.25, 250), (0.2501, 500), (0.5, 500), (0.7, 1000), (1.0001, 2000), (2.5, 4000)]
)
def test_fractions_of_a_cpu_are_never_rounded_down(cpus: float, millis: int) -> None:
    """A ten-thousandth above a size is the next one."""
    assert size_for(cpus, 100, None).cpu_millis == millis


@pytest.mark.parametrize(("cpus", "millis"), [(0.0001, 1), (1.5, 1500), (2.007, 2007), (2.0071, 2008)])
def test_what_a_float_adds_is_nothing(cpus: float, millis: int) -> None:
    """2.007 × 1000 is 2007.0000000000002 as a float, and still 2007."""
    assert cpu_millis(cpus) == millis


def test_prices_by_hand() -> None:
    """The reference of the next test, itself checked against sums made by hand."""
    prices = {(str(entry.vcpu), str(entry.gb)): entry.usd_per_hour for entry in TABLE}
    for (vcpu, gb), price in PRICED_BY_HAND.items():
        assert prices[str(Decimal(vcpu)), gb] == Decimal(price)


@pytest.mark.parametrize("storage_gib", [20, 21, 175])
def test_the_price_of_every_size(storage_gib: int) -> None:
    """CPU and memory by the hour, and storage beyond the first 20 GB."""
    for entry in TABLE:
        size = FargateSize(int(entry.vcpu * 1000), int(entry.gb * 1024), storage_gib)
        expected = entry.usd_per_hour + (storage_gib - 20) * STORAGE_GB_HOUR
        assert pod_usd_per_hour(size) == pytest.approx(float(expected), rel=1e-12)
        hours = usd(vcpu_hours=7 * float(entry.vcpu), memory_gb_hours=7 * float(entry.gb), storage_gb_hours=0)
        assert hours == pytest.approx(7 * float(entry.usd_per_hour), rel=1e-12)
