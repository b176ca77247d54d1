"""The benchmarks themselves, at sizes that say nothing of speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from tests.benchmarks.document import document
from tests.benchmarks.exec_peers.choice import HELD_PEERS, LATENCY_PEERS, THROUGHPUT_PEERS
from tests.benchmarks.run import Part, measure
from tests.benchmarks.sizes import Sizes
from tests.benchmarks.tables import rich, tables
from tests.integration.embedded_kubernetes import embedded_kubernetes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.results import Results

TINY = Sizes(
    latency_rounds=3,
    at_once=(1, 4),
    batch_commands=10,
    batch_rounds=1,
    kubectl_at_once=1,
    held=5,
    big_file_mib=2,
    small_files=30,
    transfer_rounds=1,
    stream_file_mib=1,
    stream_small_files=10,
    peer_seconds=60.0,
)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_everything_is_measured(tmp_path: Path) -> None:
    """Every peer's commands and transfers are measured, without an error, and make tables and a page."""
    said: list[str] = []
    with embedded_kubernetes(tmp_path) as kubeconfig:
        results = await measure(kubeconfig, TINY, list(Part), said.append)
    for key in _positive_keys():
        assert isinstance(results[key], int | float), (key, said)
        assert results[key] > 0, (key, said)  # type: ignore[operator]  # it is a number
    for key in _zero_keys():
        assert results[key] == 0, (key, said)
    assert results["exec_requests_each"] == 1
    for key in ("transfer_rss_growth_mib", "exec_500_kib_each"):  # of so little, what was free before may be enough
        assert isinstance(results[key], float), (key, said)
    _assert_shown(results | {"exec_command": "make bench"})


def _positive_keys() -> list[str]:
    lanes = [f"{direction}_{kind}" for direction in ("upload", "download") for kind in ("big", "small")]
    return [
        "exec_p50_vs_aiohttp",
        "exec_p50_vs_kubectl",
        "upload_1gib_vs_kubectl_cp",
        "download_1gib_vs_kubectl_cp",
        "small_files_up_vs_kubectl_cp",
        "small_files_down_vs_kubectl_cp",
        "transfer_requests_each",
        *(f"exec_p{quantile}_ms_{peer}" for peer in LATENCY_PEERS for quantile in (50, 99)),
        *(f"exec_per_second_at_1_{peer}" for peer in THROUGHPUT_PEERS),
        *(f"exec_per_second_at_4_{peer}" for peer in THROUGHPUT_PEERS if peer != "kubectl"),
        *(f"held_open_{peer}" for peer in HELD_PEERS),
        *(f"{lane}_seconds_{peer}" for lane in lanes for peer in ("ours", "kubectl", "gke")),
        *(f"{lane}_arrived_{peer}" for lane in lanes for peer in ("ours", "kubectl")),
    ]


def _zero_keys() -> list[str]:
    return [
        "exec_500_errors",
        *(f"exec_errors_alone_{peer}" for peer in LATENCY_PEERS),
        *(f"exec_errors_at_4_{peer}" for peer in THROUGHPUT_PEERS if peer != "kubectl"),
        *(f"held_errors_{peer}" for peer in HELD_PEERS),
    ]


def _assert_shown(results: Results) -> None:
    shown = list(tables(results))
    page = document([("A cluster", results)])
    assert len(shown) == 6
    assert all(table.title in page for table in shown)
    assert "`make bench`" in page
    console = Console(record=True, width=200)
    for table in shown:
        console.print(rich(table))
    assert "harbor-aws" in console.export_text()
