"""``doctor`` for a terminal: how far it is, and what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harbor_aws.infra.doctor.finding import Verdict, counts
from harbor_aws.producer.cli.options import notes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import RenderableType
    from rich.status import Status

    from harbor_aws.infra.doctor.check import Check
    from harbor_aws.infra.doctor.finding import Finding
    from harbor_aws.infra.doctor.subject import Question

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red", Verdict.SKIPPED: "dim"}

_SHOWN_WAITING = 3


class Progress:
    """A line that says how many checks are done, and which ones it waits for."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._waiting = [check.id for check in checks]
        self._total = len(checks)
        self._status: Status = notes.status(escape(self.line))

    @property
    def line(self) -> str:
        names = ", ".join(self._waiting[:_SHOWN_WAITING])
        more = len(self._waiting) - _SHOWN_WAITING
        waits = f"; waits for {names}" + (f" and {more} more" if more > 0 else "") if names else ""
        return f"Checked {self._total - len(self._waiting)} of {self._total}{waits}"

    def found(self, finding: Finding) -> None:
        self._waiting.remove(finding.id)
        self._status.update(escape(self.line))

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()


def findings_view(question: Question, findings: Sequence[Finding]) -> RenderableType:
    """Every check that applies with its evidence, then those that rest on what failed, then what to do first."""
    shown = [finding for finding in findings if finding.outcome.is_applicable]
    table = Table(title=f"Stack {question.stack}", title_justify="left")
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Check", no_wrap=True)
    table.add_column("What is to be so", ratio=2)
    table.add_column("What was seen", ratio=3, overflow="fold")
    for finding in shown:
        if finding.outcome.rests_on:
            continue
        verdict = Text(str(finding.verdict), style=_STYLES[finding.verdict])
        table.add_row(verdict, Text(finding.id), Text(finding.title), Text(finding.outcome.evidence))
    return Group(table, *_unlooked(shown), *_fixes(shown), Text(summary(findings)))


def summary(findings: Sequence[Finding]) -> str:
    """How many of each in one line."""
    shown = [finding for finding in findings if finding.outcome.is_applicable]
    seen = counts(shown)
    said = ", ".join(f"{number} {verdict}" for verdict, number in seen.items() if number)
    other = len(findings) - len(shown)
    return f"{len(shown)} checks: {said}." + (f" {other} more are not a matter of such a stack." if other else "")


def _unlooked(findings: Sequence[Finding]) -> list[RenderableType]:
    resting = [finding.id for finding in findings if finding.outcome.rests_on]
    return (
        [Text(f"Skipped, for they rest on one that is not well: {', '.join(resting)}", style="dim")] if resting else []
    )


def _fixes(findings: Sequence[Finding]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for verdict in (Verdict.FAILED, Verdict.WARNING):
        for finding in findings:
            if finding.verdict is verdict and finding.outcome.fix:
                lines.append(Text(f"{finding.id}: {finding.outcome.evidence}", style=_STYLES[verdict]))
                lines.append(Text(f"  → {finding.outcome.fix}"))
    return lines
