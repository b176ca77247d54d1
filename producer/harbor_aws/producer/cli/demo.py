"""``harbor-aws demo``: the example dataset, from enqueue to Harbor's table, on a local stack of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harbor_aws.infra.local import stack as local_stack
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import LOCAL_STACK
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.local import take_down, worker_environment, worker_secrets
from harbor_aws.producer.cli.options import notes, output
from harbor_aws.producer.examples import expected_rewards, tasks_directory

WORKERS = 2


def demo(
    jobs_directory: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Directory of jobs that the results go into.")
    ] = Path("jobs"),
) -> None:
    """Run the example dataset on a local stack of its own, show its results, and take everything down again.

    Exit code 0 only if the committed reward of every trial is the one that the dataset expects.

    Examples:

        harbor-aws demo

        harbor-aws demo -o /tmp/jobs && harbor view /tmp/jobs
    """
    job = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="harbor-aws-demo-") as state:
        os.environ["XDG_STATE_HOME"] = state  # a stack that the user has running is left alone
        os.environ["HARBOR_AWS_STACK"] = LOCAL_STACK
        try:
            with notes.status("Starting the local stack: queues, bucket, Kubernetes, workers"):
                local_stack.up(
                    workers=WORKERS,
                    settings=Settings(),
                    environment=worker_environment(),
                    secrets=worker_secrets(),
                    working_directory=Path.cwd(),
                    rootfs={},
                )
            code = _enqueue_and_wait(job, jobs_directory)
        finally:
            take_down()
    surprises = _surprises(jobs_directory / job) if code == 0 else [f"the command ended with exit code {code}"]
    for surprise in surprises:
        notes.print(f"Not as expected: {surprise}", highlight=False, markup=False)
    if surprises:
        raise typer.Exit(FAILED)
    took = time.monotonic() - began
    output.print(f"Every reward is the expected one, in {took:.0f} s; nothing of it runs any more.", highlight=False)
    output.print(f"  harbor view {jobs_directory}", highlight=False, soft_wrap=True)


def _enqueue_and_wait(job: str, jobs_directory: Path) -> int:
    """What a user would type; its exit code."""
    program = Path(sys.executable).with_name("harbor-aws-enqueue")
    arguments = ["-a", "oracle", "--job-name", job, "-o", str(jobs_directory), "--wait"]
    notes.print(f"$ harbor-aws-enqueue {tasks_directory()} {' '.join(arguments)}", highlight=False, soft_wrap=True)
    return subprocess.run([str(program), str(tasks_directory()), *arguments], check=False).returncode


def _surprises(job_directory: Path) -> list[str]:
    """How the fetched results differ from what the dataset expects, a line each."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(job_directory.glob("*/result.json")):
        result = json.loads(path.read_bytes())
        found[Path(result["config"]["task"]["path"]).name].append(_outcome(result))
    return [
        f"{task}: {found[task] or 'no result'} instead of {expected}"
        for task, expected in expected_rewards().items()
        if not found[task] or any(outcome != expected for outcome in found[task])
    ]


def _outcome(result: dict[str, Any]) -> dict[str, Any]:
    verified, exception = result["verifier_result"], result["exception_info"]
    return {
        "rewards": verified["rewards"] if verified else None,
        "exception": exception["exception_type"] if exception else None,
    }
