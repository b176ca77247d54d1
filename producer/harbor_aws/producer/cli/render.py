"""A job's state as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from harbor_aws.infra.fargate_prices import PRICES_DATE, PRICES_REGION
from harbor_aws.producer.state import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from harbor_aws.producer.cost import Cost
    from harbor_aws.producer.jobs import JobSummary
    from harbor_aws.producer.overview import FlyingTrial, Overview
    from harbor_aws.producer.stackview import StackView

_SHOWN_TRIALS = 20
"""Rows of a table of trials; the rest is counted."""

_SHOWN_PODS = 3
"""Names of pods in a line; all are in ``--json``."""

_REASON_CHARACTERS = 160


def job_view(overview: Overview, stack: StackView | None = None) -> RenderableType:
    """All that ``status JOB`` shows."""
    parts: list[RenderableType] = [
        Text(f"{overview.job}: {overview.committed} of {overview.trials} trials have a result")
    ]
    parts.append(_counts(overview))
    if overview.cost.pods or overview.cost.trials_not_counted:
        parts.append(Text(cost_line(overview.cost)))
    if stack:
        parts.append(Text(stack_line(stack)))
    if overview.rewards:
        parts.append(_rewards(overview))
    if overview.exceptions:
        parts.append(_exceptions(overview))
    for title, trials in (("In flight", overview.in_flight), ("To be tried again", overview.waiting)):
        if trials:
            parts.append(_trials(title, trials))
    if overview.dead:
        parts.append(_trials("Dead letters", overview.dead))
    return Group(*parts)


def jobs_view(jobs: Sequence[JobSummary], stack: StackView) -> RenderableType:
    """All that ``status`` shows."""
    table = Table(title="Jobs", title_justify="left")
    table.add_column("Job", overflow="fold", no_wrap=True, min_width=max((len(job.job) for job in jobs), default=0))
    table.add_column("Enqueued", no_wrap=True)
    for heading in ("Trials", "Queued", "Begun", "Committed", "Dead"):
        table.add_column(heading, justify="right")
    for job in jobs:
        when = job.enqueued_at.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(job.job, when, *map(str, (job.trials, job.queued, job.begun, job.committed, job.dead)))
    return Group(table if jobs else Text("No jobs yet."), Text(stack_line(stack)))


def stack_line(stack: StackView) -> str:
    """Queue, dead letters and workers in one line, and pods without an owner in another if there are any."""
    workers = f"{stack.workers.ready} of {stack.workers.desired} ready" if stack.workers else "unknown"
    if stack.workers and stack.workers.desired == 0:
        workers = "none, so nothing starts; `harbor-aws scale 2` makes two"
    return (
        f"Queue: {stack.queue.visible + stack.queue.delayed} waiting, {stack.queue.in_flight} with workers · "
        f"Dead letters: {stack.dead_letters} · Workers: {workers}" + _ownerless(stack.ownerless_pods or [])
    )


def cost_line(cost: Cost) -> str:
    """What a job has cost so far, and what that does not count."""
    uncounted = f"; {cost.trials_not_counted} trials of an older version not counted" if cost.trials_not_counted else ""
    return (
        f"Cost so far: ${cost.usd:,.2f} ({cost.vcpu_hours:,.1f} vCPU-hours, {cost.memory_gb_hours:,.1f} GB-hours, "
        f"{cost.pods} pods; pods only, {PRICES_REGION} list prices of {PRICES_DATE}{uncounted})"
    )


def _ownerless(pods: Sequence[str]) -> str:
    more = f" and {len(pods) - _SHOWN_PODS} more" if len(pods) > _SHOWN_PODS else ""
    return f"\nPods without an owner: {len(pods)} ({', '.join(pods[:_SHOWN_PODS])}{more})" if pods else ""


def _counts(overview: Overview) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    present = [phase for phase in Phase if overview.phases.get(phase)]
    for phase in present:
        table.add_column(str(phase), justify="right")
    table.add_row(*(str(overview.phases[phase]) for phase in present))
    return table


def _rewards(overview: Overview) -> Table:
    table = Table("Agent and dataset", title="Rewards so far", title_justify="left")
    table.add_column("Results", justify="right")
    table.add_column("Rewards", justify="right")
    for key, rewards in overview.rewards.items():
        shown = ", ".join(f"{name} {value:.3f}" for name, value in rewards.mean.items())
        table.add_row(key, str(rewards.results), shown)
    return table


def _exceptions(overview: Overview) -> Table:
    table = Table("Exception", title="Failures that are results", title_justify="left")
    table.add_column("Trials", justify="right")
    for exception, trials in sorted(overview.exceptions.items()):
        table.add_row(exception, str(trials))
    return table


def _trials(title: str, trials: Sequence[FlyingTrial]) -> Table:
    more = f" ({len(trials) - _SHOWN_TRIALS} more)" if len(trials) > _SHOWN_TRIALS else ""
    table = Table(title=title + more, title_justify="left")
    table.add_column("Trial", overflow="fold")
    for heading in ("Phase", "Attempt", "Age"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Pod", overflow="fold")
    with_reasons = any(trial.reason for trial in trials)
    if with_reasons:
        table.add_column("Reason")
    for trial in trials[:_SHOWN_TRIALS]:
        row = [trial.trial, str(trial.phase), str(trial.attempt), age(trial.age_seconds), trial.pod or "–"]
        table.add_row(*map(Text, [*row, *([gist(trial.reason or "")] if with_reasons else [])]))
    return table


def gist(reason: str) -> str:
    """The last line of a reason, which is where a failed command says why; all of it is in ``--json``."""
    lines = [line for line in reason.splitlines() if line.strip()]
    return lines[-1].strip()[:_REASON_CHARACTERS] if lines else ""


def age(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
