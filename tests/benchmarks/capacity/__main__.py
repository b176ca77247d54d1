"""``python -m tests.benchmarks.capacity``: how long runs take, and what binds. ``make capacity`` runs it."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path

from rich.console import Console
from tests.benchmarks.capacity import capacity_tables, measured, plot
from tests.benchmarks.capacity.blocks import replaced
from tests.benchmarks.capacity.scenarios import TRIALS, VCPUS, as_json, scenario
from tests.benchmarks.tables import Table, markdown, rich

PAGE = Path("docs/capacity.md")
PICTURE = Path("docs/capacity.svg")
RESULTS = Path("build/capacity.json")

SHOWN_TRIALS = 10_000

SHOWN_VCPUS = (6, 12, 25, 50, 100, 175, 256, 400, 700, 1_000, 1_500, 2_000, 3_000, 4_000, 5_500, 7_500, 10_000, 15_000)

SHOWN_OVER_TIME = (1_000, 4_000, 10_000)


def main() -> None:
    """Simulate, print the table, and write the results, the page and its picture."""
    began = time.perf_counter()
    console = Console(width=130)
    found = [scenario(trials, vcpus) for trials, vcpus in product(TRIALS, VCPUS)]
    console.print(rich(capacity_tables.runs(found)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([as_json(each) for each in found], indent=2) + "\n")
    page = replaced(PAGE.read_text(), "runs", rows(capacity_tables.runs(found)))
    page = replaced(page, "assumptions", rows(capacity_tables.sources()))
    if measured.RESULTS.exists():
        page = replaced(page, "measured", rows(capacity_tables.jobs(json.loads(measured.RESULTS.read_text())["jobs"])))
    PAGE.write_text(page)
    shown = {vcpus: scenario(SHOWN_TRIALS, vcpus) for vcpus in SHOWN_VCPUS}
    PICTURE.write_bytes(plot.draw(list(shown.values()), [shown[vcpus] for vcpus in SHOWN_OVER_TIME]))
    console.print(f"{RESULTS}, {PAGE} and {PICTURE} are written; {time.perf_counter() - began:.0f} s.")


def rows(table: Table) -> str:
    """Without its title and note, which the page has."""
    return "\n".join(line for line in markdown(table).splitlines() if line.startswith("|")) + "\n"


if __name__ == "__main__":
    main()
