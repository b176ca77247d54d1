"""Running the checks: all at once, each after what it rests on, and none for longer than its time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import MayNotAskError
from harbor_aws.infra.doctor.finding import Finding, Outcome
from harbor_aws.infra.errors import HarborAwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harbor_aws.infra.doctor.check import Check
    from harbor_aws.infra.doctor.subject import Subject

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a look may take."""


async def examine(
    checks: Sequence[Check],
    subject: Subject,
    *,
    on_finding: Callable[[Finding], None] = lambda _: None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Finding]:
    """What every check found, in the checks' order.

    Args:
        checks: each one after those that it needs; what is not among them counts as well.
        on_finding: called as soon as one is there, in no particular order.
        patience_seconds: how long a look may take that says no time of its own.
    """
    found: dict[str, asyncio.Task[Finding]] = {}

    async def find(check: Check) -> Finding:
        outcome = await _outcome(check)
        finding = Finding(check.id, check.title, outcome)
        on_finding(finding)
        return finding

    async def _outcome(check: Check) -> Outcome:
        if subject.kind not in check.applies_to:
            return Outcome.inapplicable(f"not a matter of {subject.kind}")
        blocking = [need for need in check.needs if need in found and (await found[need]).outcome.is_blocking]
        if blocking:
            return Outcome.resting(blocking)
        return await _look(check, subject, check.seconds or patience_seconds)

    async with asyncio.TaskGroup() as group:
        for check in checks:
            found[check.id] = group.create_task(find(check))
    return [task.result() for task in found.values()]


async def _look(check: Check, subject: Subject, seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            return await check.look(subject)
    except TimeoutError:
        return Outcome.failed(f"no answer within {seconds:g} s", check.fix)
    except MayNotAskError as error:
        return Outcome.skipped(f"may not ask ({error.action})")
    except HarborAwsError as error:
        return Outcome.failed(str(error), check.fix)
    except Exception as error:  # a defect of one check must not hide what the others find
        logger.exception("The check %s has a defect.", check.id, extra={"action": "examine", "check": check.id})
        return Outcome.failed(f"the check itself has a defect: {error!r}", "Report it, with the traceback above.")
