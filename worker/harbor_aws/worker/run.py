"""A worker process, put together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from harbor_aws.infra.aws import sqs_client
from harbor_aws.infra.queues import Queue
from harbor_aws.worker.celery_app import consume, make_app, stop_consuming
from harbor_aws.worker.drain import Drain
from harbor_aws.worker.fitness import Fitness
from harbor_aws.worker.in_flight import InFlight
from harbor_aws.worker.inbox import ANSWER_SECONDS, Inbox
from harbor_aws.worker.intake import Intake
from harbor_aws.worker.lease import LeaseKeeper, LeaseTerms
from harbor_aws.worker.loop import TrialLoop
from harbor_aws.worker.settle import Settler
from harbor_aws.worker.slot import Slot

if TYPE_CHECKING:
    from pathlib import Path

    from harbor_aws.infra.settings import Settings
    from harbor_aws.infra.stack import Stack
    from harbor_aws.worker.loop import OpenHandler

logger = logging.getLogger(__name__)


def run_worker(
    *,
    stack: Stack,
    settings: Settings,
    open_handler: OpenHandler,
    fitness: Fitness | None = None,
    alive_file: Path | None = None,
) -> int:
    """Work on the stack's queue until a signal ends it; to be called in the main thread.

    Args:
        open_handler: makes the handler of all trials; entered on the trials' loop before anything is received, left
            there after the last trial ended. What it raises is raised here.
        fitness: of this process; by default one that knows nothing but how its trials end.
        alive_file: touched whenever the worker received, or had no need to; for a liveness probe.

    Returns:
        The exit code: 0 if it was told to stop and every message is settled, else 1.
    """
    for name in ("celery", "kombu"):
        logging.getLogger(name).setLevel(logging.WARNING)
    terms = LeaseTerms(settings.visibility_timeout_seconds, settings.lease_interval_seconds)
    fitness = fitness or Fitness()
    in_flight = InFlight(slots=settings.slots)
    inbox = Inbox.of(stack, slots=settings.slots)
    settler = Settler(inbox=inbox, in_flight=in_flight)
    intake = Intake(
        inbox=inbox,
        in_flight=in_flight,
        dead_letters=Queue(
            sqs_client(stack, read_timeout_seconds=ANSWER_SECONDS, attempts=1), url=stack.dead_letter_queue_url
        ),
        fitness=fitness,
        visibility_timeout_seconds=settings.visibility_timeout_seconds,
        alive_file=alive_file,
    )
    drain = Drain(
        in_flight=in_flight,
        settler=settler,
        cancel=lambda held, reason: trials.cancel(held, reason),  # the loop tells the drain when it dies
        stop_consuming=stop_consuming,
        drain_seconds=settings.drain_seconds,
    )
    with TrialLoop(open_handler, on_death=drain.abort) as trials:
        slot = Slot(in_flight=in_flight, trials=trials, settler=settler, fitness=fitness)
        app = make_app(intake=intake, settler=settler, run=slot.run)
        with LeaseKeeper(inbox=inbox, in_flight=in_flight, terms=terms, cancel=trials.cancel), drain:
            logger.info("A worker of %s with %d slots is ready.", stack.name, settings.slots, extra={"action": "start"})
            consume(app, slots=settings.slots)
    logger.info("The worker ended%s.", "" if drain.is_clean else " by itself", extra={"action": "stop"})
    return 0 if drain.is_clean else 1
