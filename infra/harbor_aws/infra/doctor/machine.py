"""This machine, on which a local stack's parts run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harbor_aws.infra.doctor.asking import in_background
from harbor_aws.infra.doctor.check import ON_THIS_MACHINE, Check
from harbor_aws.infra.doctor.finding import Outcome
from harbor_aws.infra.local import processes, services
from harbor_aws.infra.stack import stack_file

if TYPE_CHECKING:
    from harbor_aws.infra.doctor.subject import Subject

GIB = 2**30

LEAST_FREE_BYTES = 1 * GIB
"""Below that a task's image or a trial's archive may not fit."""

FEW_FREE_BYTES = 5 * GIB


async def _processes(subject: Subject) -> Outcome:
    directory = stack_file(subject.question.stack).parent
    running = {part: processes.is_running(directory, part) for part in services.PARTS}
    gone = [part for part, is_there in running.items() if not is_there]
    if gone:
        log = processes.log_tail(directory, gone[0]).splitlines()[-1:]
        return Outcome.failed(
            f"{' and '.join(gone)} {'does' if len(gone) == 1 else 'do'} not run: {' '.join(log)}".rstrip(": "),
            "`harbor-aws local down`, then `harbor-aws local up`; what queue and bucket held is lost",
        )
    return Outcome.ok(f"{' and '.join(running)} run")


async def _disk(subject: Subject) -> Outcome:
    places = {stack_file(subject.question.stack).parent, Path(tempfile.gettempdir())}
    free = await in_background(lambda: {str(each): shutil.disk_usage(each).free for each in places})
    place, least = min(free.items(), key=lambda each: each[1])
    evidence = f"{least / GIB:.1f} GiB are free at {place}"
    fix = f"Make room at {place}, or set TMPDIR to where there is."
    if least < LEAST_FREE_BYTES:
        return Outcome.failed(evidence, fix)
    if least < FEW_FREE_BYTES:
        return Outcome.warning(evidence, fix)
    return Outcome.ok(evidence)


CHECKS = (
    Check(
        id="local-processes",
        title="The local stack's servers run",
        look=_processes,
        fix="harbor-aws local status",
        needs=("stack",),
        applies_to=ON_THIS_MACHINE,
    ),
    Check(
        id="disk",
        title="There is room on the disk",
        look=_disk,
        fix="df -h",
        needs=("stack",),
        applies_to=ON_THIS_MACHINE,
    ),
)
