"""``python -m tests.chaos.jobs``: break a stack for so many minutes, and write down what became of its trials."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.jobs.document import update
from tests.chaos.jobs.fleet import ROOT
from tests.chaos.jobs.ground import embedded_ground, real_ground
from tests.chaos.jobs.run import Plan, run

BUILD = ROOT / "build"


def main() -> int:
    """The exit code: 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.jobs", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what the faults and their order depend on (default: 1)")
    parser.add_argument("--minutes", type=float, default=30, help="how long things are broken (default: 30)")
    parser.add_argument("--kubeconfig", type=Path, help="of a real cluster (default: the embedded one)")
    options = parser.parse_args()
    plan = Plan(seed=options.seed, seconds=options.minutes * 60, long_freeze_seconds=300)
    with tempfile.TemporaryDirectory(prefix="harbor-aws-chaos-") as name:
        directory = Path(name)
        ground = real_ground(options.kubeconfig) if options.kubeconfig else embedded_ground(directory)
        with ground as there:
            cluster = "real" if options.kubeconfig else "embedded"
            report = asyncio.run(run(there, plan, directory / "run", cluster=cluster))
        BUILD.mkdir(exist_ok=True)
        shutil.copy(directory / "run" / "history.jsonl", BUILD / "chaos-history.jsonl")
        for log in (directory / "run" / "workers").glob("*/log"):
            shutil.copy(log, BUILD / f"chaos-worker-{log.parent.name}.log")
    (BUILD / "chaos.json").write_text(json.dumps(report.as_json(), indent=2) + "\n")
    update(ROOT / "docs" / "reliability.md", report)
    print("\n".join(report.lines()))
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
