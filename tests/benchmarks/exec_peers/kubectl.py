"""``kubectl exec``: a process for every command."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.benchmarks.target import Target


class Kubectl:
    def __init__(self, target: Target) -> None:
        self._target = target

    @classmethod
    @asynccontextmanager
    async def open(cls, target: Target) -> AsyncIterator[Kubectl]:
        yield cls(target)

    async def run(self, text: str, *, on_output: Callable[[], None] = lambda: None) -> int:
        process = await asyncio.create_subprocess_exec(
            *kubectl_argv(self._target, "exec", "-c", "main", self._target.pod, "--", "bash", "-c", text),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        if output:
            on_output()
        return process.returncode or 0

    def requests(self) -> int | None:
        return None


def kubectl_argv(target: Target, *arguments: str) -> list[str]:
    return ["kubectl", "--kubeconfig", str(target.kubeconfig), "-n", target.namespace, *arguments]
