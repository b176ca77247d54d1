"""``python -m tests.benchmarks.capacity.measured``: the model beside the local stack. Needs root, takes six minutes.

A small job says how long a trial takes there besides its sleep; from that alone the model says how long larger jobs
take, and then they are run. As the machine is busier with some of them, the model also says it from how long each of
their trials took. What AWS would add (nodes, images, its quotas) is not there, so this tests how trials queue for slots
and for the launch rate, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.tiny_tasks import IMAGE_TOML, make_task

from harbor_aws.infra.aws import s3_client
from harbor_aws.infra.capacity import Limits, TrialDemand, simulate
from harbor_aws.infra.stack import LOCAL_STACK, load_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path("build/capacity-measured.json")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A job on the local stack, of one task that sleeps."""

    name: str
    trials: int
    sleep_seconds: float
    workers: int
    slots: int
    launches_per_second: float
    """0 for no bound."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How a job went."""

    wall_seconds: float
    """From the first trial's start to the last result's commit."""
    trial_seconds: list[float]
    """Of each trial, from when it began until it ended, the first one first."""
    api_requests_each: dict[str, float]
    """To the Kubernetes API, of pods and what is theirs, for each trial."""


CALIBRATION = Scenario("calibration", trials=8, sleep_seconds=15, workers=1, slots=8, launches_per_second=0)
SCENARIOS = (
    Scenario("slots", trials=48, sleep_seconds=15, workers=1, slots=8, launches_per_second=0),
    Scenario("slots of two workers", trials=48, sleep_seconds=15, workers=2, slots=8, launches_per_second=0),
    Scenario("launch rate", trials=40, sleep_seconds=5, workers=1, slots=40, launches_per_second=0.5),
)


def limits(scenario: Scenario, *, overhead_seconds: float) -> Limits:
    """What bounds a local stack."""
    return Limits(
        account_vcpus=inf,
        max_vcpus=inf,
        min_workers=scenario.workers,
        max_workers=scenario.workers,
        slots_per_worker=scenario.slots,
        launches_per_second=scenario.launches_per_second or inf,
        launch_burst=1,
        node_seconds_least=0,
        node_seconds_most=0,
        slot_overhead_seconds=overhead_seconds,
    )


def measure(scenario: Scenario, directory: Path) -> Measured:
    """Run it on a local stack of its own."""
    os.environ |= {
        "XDG_STATE_HOME": str(directory),
        "HARBOR_AWS_STACK": LOCAL_STACK,
        "HARBOR_AWS_SLOTS": str(scenario.slots),
        "HARBOR_AWS_POD_LAUNCHES_PER_SECOND": str(scenario.launches_per_second),
    }
    script = f"#!/bin/bash\nsleep {scenario.sleep_seconds}\n"
    make_task(directory, "sleeper", toml=IMAGE_TOML, files={"solution/solve.sh": script})
    try:
        _run("harbor-aws", "local", "up", "--workers", str(scenario.workers), "--detach")
        arguments = ["-a", "oracle", "-k", str(scenario.trials), "--job-name", "job", "-o", str(directory / "jobs")]
        _run("harbor-aws-enqueue", str(directory / "sleeper"), *arguments, "--wait")
        return _measured(directory / "jobs" / "job", scenario)
    finally:
        _run("harbor-aws", "local", "down")


def _measured(job: Path, scenario: Scenario) -> Measured:
    results = sorted(
        (json.loads(path.read_text()) for path in job.glob("*/result.json")), key=lambda result: result["started_at"]
    )
    assert len(results) == scenario.trials, f"{len(results)} results"
    stack = load_stack(LOCAL_STACK)
    pages = s3_client(stack).get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, Prefix="jobs/job/results/")
    committed = max(item["LastModified"] for page in pages for item in page["Contents"])
    began = [_time(result["started_at"]) for result in results]
    lasted = [
        (_time(result["finished_at"]) - start).total_seconds() for result, start in zip(results, began, strict=True)
    ]
    return Measured(
        wall_seconds=(committed - min(began)).total_seconds(),
        trial_seconds=lasted,
        api_requests_each={what: count / scenario.trials for what, count in _api_requests().items()},
    )


def _api_requests() -> dict[str, float]:
    """How often pods were asked for, by the embedded server's own count; streams count when they end."""
    kubeconfig = load_stack(LOCAL_STACK).trials.kubeconfig
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "get", "--raw", "/metrics"]
    counts: Counter[str] = Counter()
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if line.startswith("apiserver_request_total{") and labels["resource"] in ("pods", "events"):
            counts[" ".join(filter(None, (labels["verb"], labels["resource"], labels["subresource"])))] += int(
                float(line.rpartition(" ")[2])
            )
    return dict(counts)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _run(program: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)


def main() -> None:
    """Calibrate, predict, measure; print and keep a line for each job."""
    RESULTS.parent.mkdir(exist_ok=True)
    calibrated = _on_a_stack_of_its_own(CALIBRATION)
    usual = median(calibrated.trial_seconds)
    overhead = max(0.0, calibrated.wall_seconds - max(calibrated.trial_seconds))
    lines = []
    for scenario in SCENARIOS:
        expected = [usual - CALIBRATION.sleep_seconds + scenario.sleep_seconds] * scenario.trials
        found = _on_a_stack_of_its_own(scenario)
        line = {
            **asdict(scenario),
            "predicted_seconds": _predicted(scenario, expected, overhead_seconds=overhead),
            "replayed_seconds": _predicted(scenario, found.trial_seconds, overhead_seconds=overhead),
            "measured_seconds": found.wall_seconds,
            "median_trial_seconds": median(found.trial_seconds),
        }
        lines.append(line)
        print(line, flush=True)
        RESULTS.write_text(json.dumps({"calibration": asdict(calibrated), "jobs": lines}, indent=2) + "\n")


def _on_a_stack_of_its_own(scenario: Scenario) -> Measured:
    with tempfile.TemporaryDirectory(prefix="harbor-aws-capacity-") as directory:
        return measure(scenario, Path(directory))


def _predicted(scenario: Scenario, seconds: Sequence[float], *, overhead_seconds: float) -> float:
    demand = [TrialDemand(1000, each) for each in seconds]
    return simulate(demand, limits(scenario, overhead_seconds=overhead_seconds)).wall_clock_seconds


if __name__ == "__main__":
    main()
