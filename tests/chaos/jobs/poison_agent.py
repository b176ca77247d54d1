"""An agent that kills the worker that runs it, every time: for trials that must end as dead letters."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from harbor.agents.base import BaseAgent

if TYPE_CHECKING:
    from harbor.environments.base import BaseEnvironment
    from harbor.models.agent.context import AgentContext

IMPORT_PATH = f"{__name__}:PoisonAgent"


class PoisonAgent(BaseAgent):
    """Its pod runs when it does that, so that the pod is left to others."""

    @staticmethod
    def name() -> str:
        return "poison"

    def version(self) -> str:
        return "1"

    async def setup(self, environment: BaseEnvironment) -> None:
        """Nothing to do."""

    async def run(self, instruction: str, environment: BaseEnvironment, context: AgentContext) -> None:
        """Kill the worker."""
        os.kill(os.getpid(), signal.SIGKILL)
