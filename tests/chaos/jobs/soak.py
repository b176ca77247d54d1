"""``python -m tests.chaos.jobs.soak``: many trials in one worker, and what grows in it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.jobs.events import Kind
from tests.chaos.jobs.fleet import ROOT
from tests.chaos.jobs.ground import embedded_ground
from tests.chaos.jobs.run import Scene
from tests.chaos.jobs.verdict import Expected
from tests.chaos.jobs.workload import make_slow_task

if TYPE_CHECKING:
    from tests.chaos.jobs.fleet import Place
    from tests.chaos.jobs.ground import Ground
    from tests.chaos.jobs.history import History

_REST_SECONDS = 2.0
_MIB = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker process at one moment."""

    trials: int
    """It has committed so many."""
    descriptors: int
    sockets: int
    threads: int
    files: int
    """Files and directories below its TMPDIR, but for the bundles that it keeps on purpose."""
    rss_mib: int


async def soak(ground: Ground, directory: Path, *, trials: int, every: int) -> list[Sample]:
    """Run so many trials in one worker; a sample after every so many, when it has nothing to do."""
    async with Scene.set(ground, directory) as scene:
        task = make_slow_task(directory / "task", seconds=0)
        [place, *_] = scene.fleet.places
        scene.fleet.scale(1)
        samples: list[Sample] = []
        for ended in range(every, trials + 1, every):
            await scene.enqueue(task, f"job-{ended}", expected=lambda _: Expected(reward=1.0), repeats=every)
            while _ended(scene.history) < ended:
                await asyncio.sleep(0.2)
            await asyncio.sleep(_REST_SECONDS)
            samples.append(look(place, trials=ended))
        report = scene.report(await scene.ends(), seed=0, cluster="embedded", seconds=0, replayed=0)
    assert report.is_clean, report.findings
    return samples


def _ended(history: History) -> int:
    """Trials that are committed, and whose message was deleted."""
    committed, acknowledged = (
        {event.place for event in history.events if event.kind is kind} for kind in (Kind.COMMITTED, Kind.ACKNOWLEDGED)
    )
    return len(committed & acknowledged)


def look(place: Place, *, trials: int) -> Sample:
    """At what the kernel says of the worker."""
    assert place.process is not None
    process = Path("/proc") / str(place.process.pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    open_files = [_target(descriptor) for descriptor in (process / "fd").iterdir()]
    return Sample(
        trials=trials,
        descriptors=len(open_files),
        sockets=sum(target.startswith("socket:") for target in open_files),
        threads=int(status["Threads"]),
        files=sum("bundles" not in path.parts for path in place.disk.rglob("*")),
        rss_mib=int(status["VmRSS"].split()[0]) // _MIB,
    )


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def main() -> int:
    """Print a line a sample, and keep them in ``build/soak.json``."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.jobs.soak", description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--every", type=int, default=200, help="trials between two samples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harbor-aws-soak-") as name:
        directory = Path(name)
        with embedded_ground(directory) as ground:
            samples = asyncio.run(soak(ground, directory / "run", trials=options.trials, every=options.every))
    rows = [asdict(sample) for sample in samples]
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "soak.json").write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        print(", ".join(f"{value} {name}" for name, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
