"""One worker process of a stack, put together from its parts."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import HarborAwsError
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.queues import Queue
from harbor_aws.infra.secrets.manager import SecretsManager
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import load_stack
from harbor_aws.worker.attempt import current_attempt
from harbor_aws.worker.bundles import BundleCache
from harbor_aws.worker.fitness import Fitness
from harbor_aws.worker.launch_rate import Launches
from harbor_aws.worker.pods import PodKeeper
from harbor_aws.worker.presence import PresenceTerms, keep_presence, process_name
from harbor_aws.worker.reaper import reaping
from harbor_aws.worker.run import run_worker
from harbor_aws.worker.scratch import own_scratch
from harbor_aws.worker.scrub.known import sensitive_variables
from harbor_aws.worker.scrub.logs import scrub_logs
from harbor_aws.worker.scrub.scrubber import Scrubber
from harbor_aws.worker.secrets import load_secrets, resolve_references
from harbor_aws.worker.stalls import Stalls
from harbor_aws.worker.trial import TrialRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import FrameType

    from harbor_aws.infra.stack import Stack
    from harbor_aws.worker.delivery import TrialHandler


def main() -> int:
    """Run until told to stop; the exit code."""
    _log_to_stderr()
    scrubber = Scrubber()
    scrub_logs(lambda: attempt.scrubber if (attempt := current_attempt.get()) else scrubber)
    signal.signal(signal.SIGTERM, _end_at_once)
    try:
        secrets = load_secrets(os.environ)
        settings = Settings()  # some may be among the secrets
        stack = load_stack(settings.stack)
        secrets |= resolve_references(os.environ, SecretsManager(stack))
        scrubber.learn({**sensitive_variables(os.environ), **secrets})
        with own_scratch() as directory:
            fitness = Fitness(scratch=directory)
            return run_worker(
                stack=stack,
                settings=settings,
                open_handler=lambda: open_trial_runner(
                    stack, settings, directory=directory, fitness=fitness, scrubber=scrubber
                ),
                fitness=fitness,
                alive_file=settings.alive_file,
            )
    except HarborAwsError as error:
        print(f"Error: {scrubber.text(str(error))}", file=sys.stderr)
        return 2


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """A worker that is told to end before it has begun leaves nothing; from then on the drain listens."""
    sys.exit(0)


def _log_to_stderr() -> None:
    """The level is the handler's: Harbor's loggers pass on their DEBUG records, whole commands among them."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@asynccontextmanager
async def open_trial_runner(
    stack: Stack, settings: Settings, *, directory: Path, fitness: Fitness, scrubber: Scrubber | None = None
) -> AsyncIterator[TrialHandler]:
    """Everything that the trials of this process share, opened on its loop.

    Args:
        directory: the process's own, for whatever it writes.
        fitness: told whether the cluster takes this process's sign of life.
        scrubber: knows the process's secrets.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.slots + 4, "blocking"))
    worker, terms = process_name(), PresenceTerms.of(settings)
    store = ObjectStore.of(stack, connections=settings.slots + 4)
    launches = Launches(per_second=settings.pod_launches_per_second, burst=settings.pod_launch_burst)
    async with (
        PodKeeper.open(stack.trials, worker=worker, launches=launches) as pods,
        keep_presence(pods.cluster, stack=stack.name, worker=worker, terms=terms, on_renewal=fitness.note_cluster),
        reaping(pods, stack=stack.name, terms=terms),
        Stalls.watched() as stalls,
    ):
        yield TrialRunner(
            stack=stack,
            settings=settings,
            store=store,
            queue=Queue.trials(stack),
            dead_letters=Queue.dead_letters(stack),
            pods=pods,
            bundles=BundleCache(store, directory=directory / "bundles"),
            stalls=stalls,
            worker=worker,
            directory=directory,
            scrubber=scrubber,
        )
