"""``python -m tests.benchmarks``: harbor-aws beside its peers. ``make bench`` runs it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from tests.benchmarks.document import document
from tests.benchmarks.run import Part, measure
from tests.benchmarks.sizes import QUICK, Sizes
from tests.benchmarks.tables import rich, tables
from tests.benchmarks.target import cluster_of, raise_open_file_limit

PAGE = Path("docs/benchmarks.md")
EMBEDDED_RESULTS = Path("build/benchmarks.json")
GIVEN_RESULTS = Path("build/benchmarks-given.json")
QUICK_RESULTS = Path("build/benchmarks-quick.json")

CHAPTERS = {"The embedded Kubernetes": EMBEDDED_RESULTS, "A Kubernetes with containerd and runc": GIVEN_RESULTS}
"""The page's chapters, and the results that make them."""


def main(
    only: Annotated[
        list[Part] | None, typer.Option(help="Measure this part (may be repeated); the others' results stay.")
    ] = None,
    quick: Annotated[bool, typer.Option(help=f"Less of all; goes to {QUICK_RESULTS}, and to no page.")] = False,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Measure on this cluster, not on an embedded one that runs meanwhile.")
    ] = None,
) -> None:
    """Measure, print tables, and write the results and the page."""
    console = Console()
    raise_open_file_limit()
    parts = only or list(Part)
    with cluster_of(kubeconfig) as cluster:
        results = asyncio.run(
            measure(cluster, QUICK if quick else Sizes(), parts, lambda line: console.print(line, highlight=False))
        )
    command = _command(parts, quick=quick, given=kubeconfig is not None)
    results |= {f"{part}_command": command for part in parts}
    path = QUICK_RESULTS if quick else GIVEN_RESULTS if kubeconfig else EMBEDDED_RESULTS
    for table in tables(results):
        console.print(rich(table))
    path.parent.mkdir(exist_ok=True)
    results = {**(json.loads(path.read_text()) if path.exists() else {}), **results}
    path.write_text(json.dumps(results, indent=2) + "\n")
    if not quick:
        chapters = [(title, json.loads(place.read_text())) for title, place in CHAPTERS.items() if place.exists()]
        PAGE.write_text(document(chapters))


def _command(parts: list[Part], *, quick: bool, given: bool) -> str:
    """How to run the same again, without a path of this machine."""
    if parts == list(Part) and not quick and not given:
        return "make bench"
    options = [f"--only {part}" for part in parts if parts != list(Part)]
    options += ["--quick"] * quick + ["--kubeconfig FILE"] * given
    return " ".join(["python -m tests.benchmarks", *options])


if __name__ == "__main__":
    typer.run(main)
