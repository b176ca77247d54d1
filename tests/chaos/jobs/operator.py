"""The person in front of the stack: enqueues jobs, looks into the dead letters, replays them. By the real commands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.jobs.fleet import ROOT, STACK

from harbor_aws.infra.stack import stack_file

if TYPE_CHECKING:
    from harbor_aws.infra.stack import Stack

PROGRAM = Path(sys.executable).with_name("harbor-aws")


class Operator:
    """Uses the stack from a state directory of its own."""

    def __init__(self, stack: Stack, *, directory: Path) -> None:
        self._environment = {
            **os.environ,
            "XDG_STATE_HOME": str(directory),
            "HARBOR_AWS_STACK": STACK,
            "PYTHONPATH": str(ROOT),
        }
        file = stack_file(STACK, directory=directory / "harbor-aws")
        file.parent.mkdir(parents=True)
        file.write_text(stack.model_dump_json())

    async def enqueue(self, tasks: Path, *, job: str, repeats: int, attempts: int, agent: tuple[str, ...]) -> None:
        """Put a job on the queue."""
        options = ["--job-name", job, "-k", str(repeats), "--attempts", str(attempts), "--quiet"]
        await self._run("enqueue", str(tasks), *agent, *options)

    async def letters(self) -> list[dict[str, Any]]:
        """All dead letters."""
        said = await self._run("dlq", "list", "--json")
        found: list[dict[str, Any]] = json.loads(said)["letters"]
        return found

    async def replay(self, job: str) -> None:
        """Put a job's dead letters back on the queue."""
        await self._run("dlq", "replay", "--job", job, "--json")

    async def _run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *arguments, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"harbor-aws {' '.join(arguments)} ended with {process.returncode}:\n{err.decode()}")
        return out.decode()
