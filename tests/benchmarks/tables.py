"""The results as tables, for the terminal and for the documentation. Pure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from tests.benchmarks import notes
from tests.benchmarks.notes import flowing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.results import Results

PEER_NAMES = {
    "ours": "harbor-aws",
    "aiohttp": "raw aiohttp (floor)",
    "aiohttp_bare": "raw aiohttp, no shell",
    "aio": "kubernetes.aio",
    "sync": "kubernetes.stream",
    "kubectl": "kubectl",
    "gke": "Harbor's GKE environment",
}

NOTHING = "–"

_PAGE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Table:
    """Title, column heads, rows, and what the numbers mean."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


def tables(results: Results) -> Iterator[Table]:
    """Those that there are results for."""
    if "exec_p50_ms_ours" in results:
        yield _latency(results)
    if any(key.startswith("exec_per_second_at_") for key in results):
        yield _throughput(results)
    if "held_commands" in results:
        yield _held(results)
    if "upload_big_seconds_ours" in results:
        yield from (_transfers(results, kind) for kind in ("big", "small"))
    if "exec_requests_each" in results or "transfer_requests_each" in results:
        yield _requests(results)


def markdown(table: Table) -> str:
    lines = [
        f"### {table.title}",
        "",
        f"| {' | '.join(table.heads)} |",
        f"|{' --- |' * len(table.heads)}",
        *(f"| {' | '.join(row)} |" for row in table.rows),
        "",
        filled(table.note),
    ]
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """Lines of a page's width."""
    return textwrap.fill(text, _PAGE_CHARACTERS, break_on_hyphens=False, break_long_words=False)


def rich(table: Table) -> RichTable:
    made = RichTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
    for number, head in enumerate(table.heads):
        made.add_column(head, justify="right" if number else "left", no_wrap=number == 0)
    for row in table.rows:
        made.add_row(*row)
    return made


def _latency(results: Results) -> Table:
    peers = [peer for peer in PEER_NAMES if f"exec_p50_ms_{peer}" in results]
    rows = [
        [
            PEER_NAMES[peer],
            _number(results, f"exec_p50_ms_{peer}", digits=1),
            _number(results, f"exec_p99_ms_{peer}", digits=1),
            _ratio(results, f"exec_p50_ms_{peer}", "exec_p50_ms_aiohttp"),
            _number(results, f"exec_errors_alone_{peer}"),
        ]
        for peer in peers
    ]
    return Table(
        "A command alone",
        ["", "p50, ms", "p99, ms", "p50 ÷ floor", "errors"],
        rows,
        flowing(notes.LATENCY, commands=results["exec_commands_alone"]),
    )


def _throughput(results: Results) -> Table:
    prefix = "exec_per_second_at_"
    keys = [key.removeprefix(prefix).split("_", 1) for key in results if key.startswith(prefix)]
    widths = sorted({int(width) for width, _ in keys})
    peers = [peer for peer in PEER_NAMES if any(found == peer for _, found in keys)]
    rows = [[PEER_NAMES[peer], *(_rate(results, peer, width) for width in widths)] for peer in peers]
    rows.append(
        [
            "harbor-aws ÷ floor",
            *(_ratio(results, f"{prefix}{width}_ours", f"{prefix}{width}_aiohttp") for width in widths),
        ]
    )
    return Table(
        "Commands a second",
        ["", *(f"{width} at once" for width in widths)],
        rows,
        flowing(notes.THROUGHPUT),
    )


def _rate(results: Results, peer: str, width: int) -> str:
    key = f"exec_per_second_at_{width}_{peer}"
    if key not in results:
        return NOTHING
    errors = results[f"exec_errors_at_{width}_{peer}"]
    return _number(results, key) + (f" ({errors} errors)" if errors else "")


def _held(results: Results) -> Table:
    rows = [
        [
            PEER_NAMES[peer],
            *(_number(results, f"held_{what}_{peer}") for what in ("kib_each", "threads", "open", "errors")),
        ]
        for peer in PEER_NAMES
        if f"held_kib_each_{peer}" in results
    ]
    return Table(
        "Memory of an open command",
        ["", "KiB each", "threads more", "open", "errors"],
        rows,
        flowing(notes.HELD, commands=results["held_commands"]),
    )


def _transfers(results: Results, kind: str) -> Table:
    what = {
        "big": f"one file of {results['big_file_mib']} MiB",
        "small": f"{results['small_files']} files of {results['small_file_bytes']} bytes in directories",
    }[kind]
    less = {
        "big": f"a file of {results['stream_file_mib']} MiB",
        "small": f"{results['stream_small_files']} such files",
    }[kind]
    unit, head = ("mib_per_second", "MiB/s") if kind == "big" else ("files_per_second", "files/s")
    peers = [peer for peer in PEER_NAMES if f"upload_{kind}_seconds_{peer}" in results]
    rows = [
        [
            f"{direction}, {'kubectl cp' if peer == 'kubectl' else PEER_NAMES[peer]}",
            *_transfer(results, lane, unit, peer),
        ]
        for direction, lane in (("up", f"upload_{kind}"), ("down", f"download_{kind}"))
        for peer in peers
    ]
    return Table(
        f"Files: {what}",
        ["", "s", head, f"÷ kubectl cp's {head}", "peak RSS growth, MiB", "arrived whole"],
        rows,
        flowing(notes.TRANSFERS, less=less),
    )


def _transfer(results: Results, lane: str, unit: str, peer: str) -> list[str]:
    return [
        _number(results, f"{lane}_seconds_{peer}", digits=2),
        _number(results, f"{lane}_{unit}_{peer}"),
        _ratio(results, f"{lane}_{unit}_{peer}", f"{lane}_{unit}_kubectl"),
        _number(results, f"{lane}_rss_growth_mib_{peer}", digits=1),
        f"{results[f'{lane}_arrived_{peer}']} of {results[f'{lane}_tried_{peer}']}",
    ]


def _requests(results: Results) -> Table:
    counted = {
        "a command": _number(results, "exec_requests_each", digits=2),
        "a transfer, at most": _number(results, "transfer_requests_each"),
    }
    return Table(
        "API requests of harbor-aws",
        ["", "requests"],
        [[what, count] for what, count in counted.items() if count != NOTHING],
        flowing(notes.REQUESTS),
    )


def _number(results: Results, key: str, *, digits: int = 0) -> str:
    value = results.get(key)
    return NOTHING if value is None else f"{float(value):,.{digits}f}"


def _ratio(results: Results, key: str, base: str) -> str:
    value, unit = results.get(key), results.get(base)
    return f"{float(value) / float(unit):.2f}" if value and unit else NOTHING
