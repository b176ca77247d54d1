"""The runs and the assumptions as tables. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from tests.benchmarks.tables import NOTHING, Table

from harbor_aws.infra.capacity import Limits
from harbor_aws.infra.capacity.assumption import Assumption, assumptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.capacity.scenarios import Scenario


def runs(scenarios: Sequence[Scenario]) -> Table:
    """A row for each run."""
    return Table(
        title="Runs",
        heads=["trials", "vCPUs", "wall clock", "pods at once", "what binds", "its share", "without it", "dollars"],
        rows=[_run(each) for each in scenarios],
        note="",
    )


def sources() -> Table:
    """A row for each assumption."""
    return Table(
        title="Assumptions",
        heads=["what", "default", "unit", "source", "as of"],
        rows=[_source(each) for each in assumptions(Limits)],
        note="",
    )


def jobs(measured: Sequence[Mapping[str, float | str]]) -> Table:
    """A row for each job on the local stack."""
    return Table(
        title="The model beside the local stack",
        heads=["bound", "trials", "slots", "launches a second", "said before, s", "said after, s", "measured, s"],
        rows=[_job(each) for each in measured],
        note="",
    )


def time(seconds: float) -> str:
    """As people say it."""
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _run(found: Scenario) -> list[str]:
    run = found.run
    return [
        f"{run.trials:,}",
        f"{found.vcpus:,}",
        time(run.wall_clock_seconds),
        f"{run.peak_pods:,}",
        run.binding.value if run.binding else "nothing: the longest trial",
        f"{run.share(run.binding):.0%}" if run.binding else NOTHING,
        time(found.without_binding.wall_clock_seconds) if found.without_binding else NOTHING,
        f"{found.usd:,.0f}",
    ]


def _source(each: Assumption) -> list[str]:
    return [
        f"`{each.name}`: {each.meaning}",
        _number(each.default),
        each.unit,
        _linked(each.source),
        each.read_on or NOTHING,
    ]


def _number(value: object) -> str:
    if isinstance(value, int | float):
        return "no limit" if value == inf else f"{value:,.10g}"
    return NOTHING


def _linked(source: str) -> str:
    if not source.startswith("https://"):
        return f"`{source}`" if source.endswith((".py", ".yaml")) else source
    return f"[{source.removeprefix('https://').partition('/')[0]}]({source})"


def _job(found: Mapping[str, float | str]) -> list[str]:
    return [
        str(found["name"]),
        f"{found['trials']}",
        f"{int(found['workers']) * int(found['slots'])}",
        f"{found['launches_per_second']}" if found["launches_per_second"] else "any",
        *(f"{float(found[key]):.0f}" for key in ("predicted_seconds", "replayed_seconds", "measured_seconds")),
    ]
