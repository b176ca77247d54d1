"""An estimate as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from harbor_aws.infra.fargate import DEFAULT_STORAGE_GIB
from harbor_aws.producer.cli.render import age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from harbor_aws.infra.fargate import FargateSize
    from harbor_aws.producer.estimate.bill import Bill
    from harbor_aws.producer.estimate.estimate import Estimate, SizedPods
    from harbor_aws.producer.estimate.forecast import TaskTimes
    from harbor_aws.producer.estimate.right_size import RightSized

LEAST_IN_CENTS = 0.10

_SHOWN_TASKS = 15
"""Rows of a table of tasks; all are in ``--json``."""

_SHOWN_SIZES = 3
"""Sizes in a line."""

_SHOWN_JOBS = 3
"""Names of jobs in a line."""


def estimate_view(found: Estimate) -> RenderableType:
    """All that ``estimate`` shows."""
    parts: list[RenderableType] = [Text(_headline(found))]
    if found.trials:
        parts += [_bills(found), _sizes(found.sizes)]
    if measured := [times for times in found.task_times if times.runs]:
        parts.append(_tasks(measured))
    if found.right_sized:
        parts.append(_right_sized(found.right_sized, found.saved_usd))
    return Group(*parts, *(Text(line) for line in _notes(found)))


def summary_lines(found: Estimate) -> list[str]:
    """Pods, sizes and dollars, for ``enqueue``; and whatever the user should know of them before it is too late."""
    lines = [_summary(found)]
    if found.unread:
        lines.append(_unread(found.unread))
    if found.at_most.never and not found.vcpus_assumed:
        lines.append(f"Warning: {_never(found, found.at_most.never)}")
    return lines


def _summary(found: Estimate) -> str:
    shown = ", ".join(f"{size.pods} of {_size(size.vcpus, size.memory_gb)}" for size in found.sizes[:_SHOWN_SIZES])
    more = f" and {count(len(found.sizes) - _SHOWN_SIZES, 'more size')}" if len(found.sizes) > _SHOWN_SIZES else ""
    part = f" for {found.trials - found.not_in_about} of {count(found.trials, 'trial')}" if found.not_in_about else ""
    expected = f"about {_priced(found, found.about)}{part} as {_runs(found)} went; " if found.about else ""
    at_most = f"at most {_priced(found, found.at_most)} if every trial takes all its time"
    prices = f"{found.prices_region}'s list prices, without models, images and second attempts"
    return f"{count(found.pods, 'pod')} ({shown}{more}): {expected}{at_most}, at {prices}."


def right_sized_line(found: Estimate) -> str:
    """What ``--right-size`` changed, for ``enqueue``."""
    if not found.right_sized:
        return (
            "--right-size changes nothing: no task has recorded use of three runs by this agent that lets another size."
        )
    tasks = len({change.task for change in found.right_sized})
    have = f"{count(tasks, 'task')} {'has' if tasks == 1 else 'have'} other sizes"
    return f"{have} than asked for (--right-size): {_saved(found.saved_usd)}."


def count(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def dollars(amount: float) -> str:
    """To the cent; of what is less than a dime, to a hundredth of one."""
    return f"${amount:,.2f}" if abs(amount) >= LEAST_IN_CENTS or not amount else f"${amount:.4f}"


def size_text(sizes: Sequence[FargateSize]) -> str:
    """The sizes of a trial's pods."""
    return " + ".join(_size(size.cpu_millis / 1000, size.memory_mib / 1024) for size in sizes)


def _headline(found: Estimate) -> str:
    what = f"{count(found.trials, 'trial')} of {count(found.tasks, 'task')}, {count(found.pods, 'pod')}"
    if found.spent is None:
        return f"{found.what}: {what}"
    spent = f"{found.what}: {dollars(found.spent.usd)} so far, for {count(found.spent.pods, 'pod')}"
    return f"{spent}; left: {what}" if found.trials else f"{spent}; nothing is left to run"


def _bills(found: Estimate) -> Table:
    table = Table()
    table.add_column("", no_wrap=True)
    for heading in ("vCPU-hours", "GB-hours", "Pods", "Workers", "Together", "Takes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, bill in (("about", found.about), ("at most", found.at_most)):
        if bill is not None:
            used = bill.consumption
            hours = f"{used.vcpu_hours:,.1f}", f"{used.memory_gb_hours:,.1f}"
            paid = dollars(bill.pods_usd), dollars(bill.workers_usd), dollars(bill.usd)
            takes = age(bill.seconds) if bill.seconds is not None else "never"
            table.add_row(name, *hours, *paid, takes)
    return table


def _sizes(sizes: Sequence[SizedPods]) -> Table:
    table = Table("Size", title="Pods", title_justify="left")
    for heading in ("Pods", "$ an hour each"):
        table.add_column(heading, justify="right")
    for size in sizes:
        storage = f", {size.storage_gib} GiB of storage" if size.storage_gib > DEFAULT_STORAGE_GIB else ""
        table.add_row(_size(size.vcpus, size.memory_gb) + storage, str(size.pods), f"{size.usd_per_hour:.4f}")
    return table


def _tasks(tasks: Sequence[TaskTimes]) -> Table:
    slowest = sorted(tasks, key=lambda times: -(times.median_seconds or 0.0))
    more = f" (the slowest {_SHOWN_TASKS} of {len(tasks)})" if len(tasks) > _SHOWN_TASKS else ""
    table = Table(title=f"Measured{more}", title_justify="left")
    table.add_column("Task", overflow="fold")
    table.add_column("Agent", overflow="fold")
    for heading in ("Runs", "Median", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for times in slowest[:_SHOWN_TASKS]:
        durations = age(times.median_seconds or 0.0), age(times.p95_seconds or 0.0)
        table.add_row(Text(times.task), Text(times.agent), str(times.runs), *durations)
    return table


def _right_sized(changes: Sequence[RightSized], saved_usd: float | None) -> Table:
    table = Table(title=f"Other sizes (--right-size): {_saved(saved_usd)}", title_justify="left")
    table.add_column("Task", overflow="fold")
    table.add_column("Trials", justify="right")
    for heading in ("From", "To"):
        table.add_column(heading, overflow="fold")
    table.add_column("Because")
    for change in changes[:_SHOWN_TASKS]:
        why = f"{change.why} ({count(change.runs, 'run')})" if change.runs else change.why
        table.add_row(
            Text(change.task), str(change.trials), size_text(change.before), size_text(change.after), Text(why)
        )
    if len(changes) > _SHOWN_TASKS:
        table.caption = f"and {len(changes) - _SHOWN_TASKS} more; --json has all"
    return table


def _notes(found: Estimate) -> list[str]:
    prices = (
        f"Prices: Fargate's list in {found.prices_region} of {found.prices_date}, before taxes; other regions differ. "
        "Models, the stack's own hours, images and trials that are tried again are not in it."
    )
    if not found.trials:
        return [prices]
    lines = [_at_most(found), _about(found)]
    if found.unread:
        lines.append(_unread(found.unread))
    if found.running:
        run = f"{found.running} of them {'runs' if found.running == 1 else 'run'} now"
        lines.append(f"{run}: what that has cost so far is in what is spent, and once more in what is left.")
    lines.append(_never(found, found.at_most.never) if found.at_most.never else _time(found))
    return [*lines, prices]


def _at_most(found: Estimate) -> str:
    have = f"{found.unbounded} {'has' if found.unbounded == 1 else 'have'} none"
    deadline = f"; {have} but the deadline of every attempt" if found.unbounded else ""
    return f"At most: every trial takes all the time of its task's limits, once{deadline}."


def _about(found: Estimate) -> str:
    if not found.about:
        return "No earlier run of these tasks by this agent is known, so there is no better guess than the most."
    never = sum(not times.runs for times in found.task_times)
    were = "was never run, and is" if never == 1 else "were never run, and are"
    others = f"; {count(never, 'task')} {were} taken to be like the others" if never else ""
    left_out = count(found.not_in_about, "trial")
    unknown = f"; without {left_out} by agents of which no earlier run is known" if found.not_in_about else ""
    return f"About: as {_runs(found)} went{others}{unknown}."


def _unread(why: str) -> str:
    return f"Earlier runs could not be read: {why}"


def _never(found: Estimate, why: str) -> str:
    return f"{why.rstrip('.')}; reckoned with {found.vcpus_source}."


def _time(found: Estimate) -> str:
    trials = f", {count(found.concurrency, 'trial')} at once" if found.concurrency else ""
    held = (found.about or found.at_most).limited_by
    by = f"; held up by the {held}" if held else ""
    return f"Time: with {found.vcpus_source}{trials}{by}. Images that are to be built come before it."


def _runs(found: Estimate) -> str:
    more = f" and {count(len(found.jobs) - _SHOWN_JOBS, 'more job')}" if len(found.jobs) > _SHOWN_JOBS else ""
    return f"{count(found.runs, 'earlier run')} ({', '.join(found.jobs[:_SHOWN_JOBS])}{more})"


def _saved(usd: float | None) -> str:
    return f"{dollars(-usd)} more" if usd is not None and usd < 0 else f"{dollars(usd or 0.0)} less"


def _priced(found: Estimate, bill: Bill) -> str:
    """With the time that it takes, unless that rests on a new account's quota, which few have that run much."""
    is_all = bill is not found.about or not found.not_in_about
    takes = f" in {age(bill.seconds)}" if bill.seconds is not None and is_all and not found.vcpus_assumed else ""
    return f"{dollars(bill.usd)}{takes}"


def _size(vcpus: float, memory_gb: float) -> str:
    return f"{vcpus:g} vCPU and {memory_gb:g} GB"
