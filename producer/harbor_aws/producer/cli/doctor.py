"""``harbor-aws doctor``."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from harbor_aws.infra.aws import Account, configured_region
from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind
from harbor_aws.infra.doctor.deployment import kind_of
from harbor_aws.infra.doctor.finding import Finding, Verdict, counts, worst
from harbor_aws.infra.doctor.run import examine
from harbor_aws.infra.doctor.subject import Question, Subject
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.settings import Settings
from harbor_aws.producer.cli.doctor_view import Progress, findings_view
from harbor_aws.producer.cli.errors import FAILED
from harbor_aws.producer.cli.options import JsonOption, StackOption, output


def doctor(
    *,
    stack: StackOption = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-n",
            min=1,
            help="Trials that are to run at once (default: as many as the stack lets).",
            show_default=False,
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Make a pod, run a command in it and delete it: a minute or two, and about a cent."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what makes a run fail at 2 a.m.: credentials, quotas, queues, bucket, cluster, images, workers.

    It changes nothing, but for the pod of --probe. What you may not ask is skipped, and says which right it takes.
    The exit code is 1 if something failed; warnings are none.

    Examples:

        harbor-aws doctor

        harbor-aws doctor --stack team --concurrency 1000 --probe

        harbor-aws doctor --json | jq '.checks[] | select(.verdict == "failed")'
    """
    question = _question(stack or Settings().stack, concurrency=concurrency, probe=probe)
    findings = asyncio.run(_examined(question))
    if as_json:
        typer.echo(json.dumps(_document(question, findings)))
    else:
        output.print(findings_view(question, findings))
    if worst(findings) is Verdict.FAILED:
        raise typer.Exit(FAILED)


async def _examined(question: Question) -> list[Finding]:
    with Progress(CHECKS) as progress:
        async with Subject.open(question) as subject:
            return await examine(CHECKS, subject, on_finding=progress.found)


def _question(stack: str, *, concurrency: int | None, probe: bool) -> Question:
    """What is asked.

    Raises:
        UsageError: the stack is on AWS, and no region is configured.
    """
    kind, account = kind_of(stack), None
    if kind is Kind.AWS:
        region = configured_region()
        if region is None:
            raise UsageError(
                f"There is no stack {stack!r} on this machine, and no region of AWS is configured in which to look "
                "for it: set AWS_REGION."
            )
        account = Account(region)
    return Question(stack=stack, kind=kind, account=account, concurrency=concurrency, probe=probe)


def _document(question: Question, findings: list[Finding]) -> dict[str, object]:
    return {
        "stack": question.stack,
        "region": question.account.region if question.account else None,
        "concurrency": question.concurrency,
        "verdict": str(worst(findings)),
        "counts": {str(verdict): number for verdict, number in counts(findings).items()},
        "checks": [finding.as_json() for finding in findings],
    }
