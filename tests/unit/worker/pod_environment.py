"""The real environment on a cluster's stand-in, with commands and files that are only played; and agents for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

from harbor.environments.base import ExecResult
from tests.unit.worker.trial_fakes import IdleAgent

from harbor_aws.worker.environment import FargateEnvironment

if TYPE_CHECKING:
    from harbor.environments.base import BaseEnvironment


class PlayedEnvironment(FargateEnvironment):
    """Its pod is made, waited for, watched and deleted in earnest; every command ends well at once, but ``hang``."""

    @override
    async def exec(self, command: str, *args: Any, **kwargs: Any) -> ExecResult:
        _ = self._running_pod
        await self._in_pod(asyncio.sleep(3600 if command == "hang" else 0))
        return ExecResult(stdout="", stderr="", return_code=0)

    @override
    async def upload_file(self, source_path: Path | str, target_path: str) -> None: ...

    @override
    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None: ...

    @override
    async def download_file(self, source_path: str, target_path: Path | str) -> None: ...

    @override
    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        await self.exec("true")
        if "verifier" in source_dir:
            Path(target_dir).mkdir(parents=True, exist_ok=True)
            (Path(target_dir) / "reward.txt").write_text("1")


class HangingAgent(IdleAgent):
    """Runs a command that has no end."""

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: Any) -> None:
        await environment.exec("hang")
