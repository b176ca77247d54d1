"""The figures of the last long run, in the documentation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.jobs.report import Report

BEGIN = "<!-- figures of the last long run: written by `make chaos` -->"
END = "<!-- end of the figures -->"


def update(path: Path, report: Report) -> None:
    """Put the report between the document's two marks."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{figures(report)}\n\n{END}{after}")


def figures(report: Report) -> str:
    """As Markdown."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    faults = "\n".join(f"| {name} | {count} |" for name, count in sorted(report.faults.items()))
    return (
        f"{day}, {report.cluster} cluster, seed {report.seed}, {report.seconds / 60:.0f} minutes: "
        f"{report.trials} trials, {report.attempts} attempts, {report.results} results, {report.dead_letters} dead "
        f"letters where they belong, {report.replayed} more replayed by command.\n\n"
        "| lost | doubled | left | wrong |\n| --- | --- | --- | --- |\n"
        f"| {report.lost} | {report.doubled} | {report.left} | {report.wrong} |\n\n"
        f"| fault | times |\n| --- | --- |\n{faults}"
    )
