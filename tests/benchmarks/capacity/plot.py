"""The runs of 10,000 trials as a picture, the same bytes whenever it is drawn anew by the same matplotlib."""

from __future__ import annotations

import re
from io import BytesIO
from itertools import cycle
from math import log10
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from harbor_aws.infra.capacity import Limit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from matplotlib.axes import Axes
    from tests.benchmarks.capacity.scenarios import Scenario

COLOURS: dict[Limit | None, str] = {
    Limit.ACCOUNT_VCPUS: "#D55E00",
    Limit.STACK_VCPUS: "#E69F00",
    Limit.SLOTS: "#0072B2",
    Limit.LAUNCH_RATE: "#CC79A7",
    Limit.WORKERS: "#56B4E9",
    Limit.NODES: "#009E73",
    None: "#999999",
}
"""Of the eight that people who see colours differently tell apart. https://jfly.uni-koeln.de/color/"""

LINES = ("#0072B2", "#D55E00", "#009E73")

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "harbor-aws",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
}


def draw(
    scenarios: Sequence[Scenario], shown_over_time: Sequence[Scenario], *, form: Literal["svg", "png"] = "svg"
) -> bytes:
    """Wall clock over vCPUs, what binds by colour; and pods over time of some of the runs."""
    with mpl.rc_context({**STYLE, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 8.6), layout="constrained")
        above, below = figure.subplots(2, 1)
        _wall_clock(above, scenarios)
        _pods(below, shown_over_time)
        buffer = BytesIO()
        figure.savefig(
            buffer, format=form, dpi=100, metadata={"Date": None, "Creator": None} if form == "svg" else None
        )
    return _slim(buffer.getvalue()) if form == "svg" else buffer.getvalue()


def _slim(svg: bytes) -> bytes:
    """Without blanks at the ends of lines, and with two decimals of every coordinate above one."""
    return re.sub(rb"(?<![\d.])([1-9]\d*\.\d\d)\d+", rb"\1", re.sub(rb"[ \t]+\n", b"\n", svg))


def _wall_clock(axes: Axes, scenarios: Sequence[Scenario]) -> None:
    trials = scenarios[0].run.trials
    vcpus = [each.vcpus for each in scenarios]
    hours = [each.run.wall_clock_seconds / 3600 for each in scenarios]
    work = sum(each.run.billed_pod_seconds for each in scenarios) / len(scenarios) / 3600
    axes.plot(vcpus, [work / each for each in vcpus], color="#bbbbbb", linestyle="--", linewidth=1)
    axes.annotate(
        "all vCPUs at trials\nall the time", (100, work / 100), xytext=(-8, -4), textcoords="offset points",
        ha="right", va="top", color="#777777", fontsize=9,
    )  # fmt: skip
    axes.plot(vcpus, hours, color="#dddddd", linewidth=1.5, zorder=1)
    bindings = dict.fromkeys(each.run.binding for each in scenarios)
    for binding, marker in zip(bindings, cycle("osD^v"), strict=False):
        chosen = [number for number, each in enumerate(scenarios) if each.run.binding is binding]
        name = binding.value if binding else "nothing: the longest trial"
        axes.scatter(
            [vcpus[number] for number in chosen], [hours[number] for number in chosen], s=42, label=name, marker=marker,
            color=COLOURS.get(binding, "#000000"), zorder=2,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="the account's vCPUs of Fargate", ylabel="wall clock, hours")
    axes.set_title(f"{trials:,} trials: wall clock, and what binds", loc="left")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if log10(value) >= 0 else f"{value:g}")
    axes.grid(visible=True, which="major", color="#eeeeee")
    axes.legend(title="what binds", frameon=False)


def _pods(axes: Axes, scenarios: Sequence[Scenario]) -> None:
    for found, colour in zip(scenarios, cycle(LINES), strict=False):
        hours = [moment.seconds / 3600 for moment in found.run.timeline[::2]]
        running = [moment.running for moment in found.run.timeline[::2]]
        there = [moment.running + moment.starting for moment in found.run.timeline[::2]]
        axes.plot(hours, running, color=colour, linewidth=1.8, label=f"{found.vcpus:,} vCPUs")
        axes.fill_between(hours, running, there, color=colour, alpha=0.25, linewidth=0)
    axes.set(xlabel="hours since the trials were enqueued", ylabel="pods of trials", xlim=(0, None), ylim=(0, None))
    axes.set_title("Pods that run over time; shaded: those whose node or image is yet to come", loc="left")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(visible=True, color="#eeeeee")
    axes.legend(frameon=False)
