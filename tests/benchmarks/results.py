"""What was measured, as one flat object: medians, ratios, counts."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.measure_exec import Batches, Held, Latency
    from tests.benchmarks.measure_transfer import Transfer
    from tests.benchmarks.sizes import Sizes

Results = dict[str, float | int | str | None]

_WORST = 0.99


def latency_results(measured: Mapping[str, Latency]) -> Results:
    """``exec_p50_ms_PEER``, ``exec_p99_ms_PEER``, ….

    ``exec_p50_vs_aiohttp`` is ours over the floor, the other ratios are the others over ours.
    """
    results: Results = {}
    p50 = {peer: statistics.median(latency.seconds) for peer, latency in measured.items()}
    for peer, latency in measured.items():
        results[f"exec_p50_ms_{peer}"] = p50[peer] * 1000
        results[f"exec_p99_ms_{peer}"] = _quantile(latency.seconds, _WORST) * 1000
        results[f"exec_errors_alone_{peer}"] = latency.errors
    results["exec_p50_vs_aiohttp"] = p50["ours"] / p50["aiohttp"]
    results["exec_p50_vs_aiohttp_bare"] = p50["ours"] / p50["aiohttp_bare"]
    for peer in ("aio", "sync", "kubectl"):
        results[f"exec_p50_vs_{peer}"] = p50[peer] / p50["ours"]
    results["exec_commands_alone"] = len(measured["ours"].seconds)
    results["exec_requests_each"] = (measured["ours"].requests or 0) / len(measured["ours"].seconds)
    return results


def throughput_results(measured: Mapping[tuple[str, int], Batches]) -> Results:
    """``exec_per_second_at_N_PEER``, ``exec_errors_at_N_PEER``."""
    results: Results = {}
    for (peer, width), batches in measured.items():
        seconds = statistics.median(batches.seconds) if batches.seconds else None
        results[f"exec_per_second_at_{width}_{peer}"] = batches.commands / seconds if seconds else None
        results[f"exec_errors_at_{width}_{peer}"] = batches.errors
    return results


def held_results(measured: Mapping[str, Held], *, asked: int) -> Results:
    """``held_KIND_PEER`` for commands that are open at the same time."""
    results: Results = {"held_commands": asked}
    for peer, held in measured.items():
        results[f"held_kib_each_{peer}"] = held.kib_each
        results[f"held_threads_{peer}"] = held.threads
        results[f"held_open_{peer}"] = held.open
        results[f"held_errors_{peer}"] = held.errors
    results["exec_500_kib_each"] = results.get("held_kib_each_ours")
    results["exec_500_errors"] = results.get("held_errors_ours", asked)
    return results


def transfer_results(measured: Sequence[Transfer], sizes: Sizes) -> Results:
    """``DIRECTION_KIND_WHAT_PEER``, and how many times faster than ``kubectl cp`` ours are."""
    results: Results = {
        "big_file_mib": sizes.big_file_mib,
        "small_files": sizes.small_files,
        "small_file_bytes": sizes.small_file_bytes,
        "stream_file_mib": sizes.stream_file_mib,
        "stream_small_files": sizes.stream_small_files,
    }
    lanes: dict[tuple[str, str, str], list[Transfer]] = {}
    for transfer in measured:
        lanes.setdefault((transfer.direction, transfer.kind, transfer.peer), []).append(transfer)
    for lane, transfers in lanes.items():
        results |= _lane_results("_".join(lane[:2]), lane[2], transfers)
    results["upload_1gib_vs_kubectl_cp"] = _times_faster(results, "upload_big")
    results["download_1gib_vs_kubectl_cp"] = _times_faster(results, "download_big")
    results["small_files_up_vs_kubectl_cp"] = _times_faster(results, "upload_small")
    results["small_files_down_vs_kubectl_cp"] = _times_faster(results, "download_small")
    ours = [transfer for transfer in measured if transfer.peer == "ours"]
    results["transfer_rss_growth_mib"] = max(one.rss_growth_mib for one in ours if one.kind == "big")
    results["small_files_rss_growth_mib"] = max(one.rss_growth_mib for one in ours if one.kind == "small")
    results["transfer_requests_each"] = max(one.requests or 0 for one in ours)
    return results


def _lane_results(lane: str, peer: str, transfers: Sequence[Transfer]) -> Results:
    """Times are of transfers that arrived whole, or of all if none did."""
    arrived = [transfer for transfer in transfers if transfer.error is None]
    seconds = statistics.median(transfer.seconds for transfer in arrived or transfers)
    return {
        f"{lane}_seconds_{peer}": seconds,
        f"{lane}_mib_per_second_{peer}": transfers[0].size_bytes / 2**20 / seconds,
        f"{lane}_files_per_second_{peer}": transfers[0].files / seconds,
        f"{lane}_rss_growth_mib_{peer}": max(transfer.rss_growth_mib for transfer in transfers),
        f"{lane}_arrived_{peer}": len(arrived),
        f"{lane}_tried_{peer}": len(transfers),
    }


def _times_faster(results: Results, lane: str) -> float | None:
    """``None`` where one of the two never arrived: then there is nothing to compare."""
    if not (results[f"{lane}_arrived_ours"] and results[f"{lane}_arrived_kubectl"]):
        return None
    return float(results[f"{lane}_seconds_kubectl"] or 0) / float(results[f"{lane}_seconds_ours"] or math.inf)


def _quantile(values: Sequence[float], quantile: float) -> float:
    """The smallest value that is not exceeded by so large a part of all."""
    return sorted(values)[max(0, math.ceil(quantile * len(values)) - 1)]
