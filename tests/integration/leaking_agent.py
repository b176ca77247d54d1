"""An agent that tries to have every secret of its worker written down somewhere."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from typing import TYPE_CHECKING, Any, override

from harbor.agents.base import BaseAgent
from harbor.agents.installed.base import NonZeroAgentExitCodeError
from tests.integration.canaries import MARK, NAMES

from harbor_aws.infra.errors import ExecError
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.scrub.needles import Needles

if TYPE_CHECKING:
    from harbor.environments.base import BaseEnvironment
    from harbor.models.agent.context import AgentContext

IMPORT_PATH = f"{__name__}:LeakingAgent"

_IN_POD = """\
env
env > /logs/agent/env.txt
env | base64 -w0 > /logs/agent/env.base64
mkdir -p /logs/artifacts
for name in @NAMES@; do
    value=$(printenv "$name")
    printf 'a\\0b%s\\0' "$value" > "/logs/artifacts/$name.bin"
    printf '{"key": "Bearer %s"}' "$value" > "/logs/agent/$value.json"
    ln -s "$value" "/logs/agent/$name.link"
done
sleep 2
"""


class LeakingAgent(BaseAgent):
    """Ends badly.

    With ``breaking`` its pod seems to break off. With ``unscrubbed`` it first has its worker forget what secrets are,
    so that what it leaks can be found.
    """

    def __init__(self, *args: Any, breaking: bool = False, unscrubbed: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._breaking = breaking
        self._unscrubbed = unscrubbed

    @staticmethod
    @override
    def name() -> str:
        return "leaking"

    @override
    def version(self) -> str:
        return "1"

    @override
    async def setup(self, environment: BaseEnvironment) -> None: ...

    @override
    async def run(self, instruction: str, environment: BaseEnvironment, context: AgentContext) -> None:
        attempt = current_attempt.get()
        assert attempt is not None
        if self._unscrubbed:
            attempt.scrubber.needles = Needles({})
        values = {name: os.environ[name] for name in NAMES}
        everything = " ".join(values.values())
        self.logger.info("in Harbor's log: %s", everything)
        logging.getLogger("leaking").warning("in the worker's log: %s", everything, exc_info=ValueError(everything))
        (self.logs_dir / "of-the-worker.txt").write_text(everything)
        (self.logs_dir / "of-the-worker.base64").write_bytes(base64.b64encode(everything.encode()))
        context.metadata = {"in the result": everything, everything: 1}
        leaking = environment.exec(_IN_POD.replace("@NAMES@", " ".join(NAMES)), env={**values, MARK: "1"})
        done, _ = await asyncio.gather(leaking, environment.exec("sleep 2"))
        assert done.return_code == 0, done
        self.logger.info("what the command said: %s", done.stdout)
        if self._breaking:
            attempt.failures.append(ExecError(f"cut while saying {everything}"))
        raise NonZeroAgentExitCodeError(f"in the result's exception: {everything}")
