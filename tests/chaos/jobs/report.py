"""What a run comes to: the figures, and every finding. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of one run."""

    seed: int
    cluster: str
    """``embedded`` or ``real``."""
    seconds: float
    trials: int
    attempts: int
    """Attempts that were begun."""
    results: int
    dead_letters: int
    """Of the trials that must end as such."""
    replayed: int
    """Dead letters of other trials, whose attempts the faults had used up; they were put back by command."""
    faults: dict[str, int]
    lost: int
    doubled: int
    left: int
    wrong: int
    findings: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def lines(self) -> list[str]:
        """For people."""
        faults = sum(self.faults.values())
        return [
            f"{self.trials} trials, {self.attempts} attempts, {faults} faults of {len(self.faults)} kinds in "
            f"{self.seconds:.0f} s (seed {self.seed}, {self.cluster} cluster)",
            f"{self.results} results, {self.dead_letters} dead letters as expected, {self.replayed} others replayed",
            f"lost {self.lost}, doubled {self.doubled}, left {self.left}, wrong {self.wrong}",
            *self.findings,
        ]
