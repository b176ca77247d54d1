"""What a check found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """A run may go well all the same."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not looked at, or not to be told; the evidence says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look brought."""

    verdict: Verdict
    evidence: str
    """The figure or the answer that was seen; of what was skipped, the reason."""
    fix: str | None = None
    """What to type, or where to look; of a warning and a failure."""
    is_blocking: bool = False
    """Whether what rests on it cannot be looked at."""
    rests_on: tuple[str, ...] = ()
    """Ids of the checks because of which it was not looked at itself."""
    is_applicable: bool = True
    """Whether such a stack has what the check is about."""

    @classmethod
    def ok(cls, evidence: str) -> Self:
        return cls(Verdict.OK, evidence)

    @classmethod
    def warning(cls, evidence: str, fix: str) -> Self:
        return cls(Verdict.WARNING, evidence, fix)

    @classmethod
    def failed(cls, evidence: str, fix: str) -> Self:
        return cls(Verdict.FAILED, evidence, fix, is_blocking=True)

    @classmethod
    def skipped(cls, reason: str) -> Self:
        """What rests on it is looked at all the same: not to be allowed to look is no defect."""
        return cls(Verdict.SKIPPED, reason)

    @classmethod
    def inapplicable(cls, reason: str) -> Self:
        return cls(Verdict.SKIPPED, reason, is_applicable=False)

    @classmethod
    def blocked(cls, reason: str) -> Self:
        return cls(Verdict.SKIPPED, reason, is_blocking=True)

    @classmethod
    def resting(cls, on: Iterable[str]) -> Self:
        """Blocked because others failed or are blocked."""
        rests_on = tuple(on)
        return cls(Verdict.SKIPPED, f"it rests on {', '.join(rests_on)}", is_blocking=True, rests_on=rests_on)


@dataclass(frozen=True, slots=True)
class Finding:
    """A check and what came of it."""

    id: str
    title: str
    outcome: Outcome

    @property
    def verdict(self) -> Verdict:
        return self.outcome.verdict

    def as_json(self) -> dict[str, str | None]:
        return {
            "id": self.id,
            "title": self.title,
            "verdict": str(self.verdict),
            "evidence": self.outcome.evidence,
            "fix": self.outcome.fix,
        }


def worst(findings: Iterable[Finding]) -> Verdict:
    """Of all: what failed outweighs a warning, and that what is well; what was skipped weighs nothing."""
    seen = {finding.verdict for finding in findings}
    return next((each for each in (Verdict.FAILED, Verdict.WARNING) if each in seen), Verdict.OK)


def counts(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """How many of each verdict; every verdict is there."""
    verdicts = [finding.verdict for finding in findings]
    return {verdict: verdicts.count(verdict) for verdict in Verdict}
