"""What a terminal shows of the doctor."""

from __future__ import annotations

import io

from rich.console import Console

from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind
from harbor_aws.infra.doctor.finding import Finding, Outcome
from harbor_aws.infra.doctor.subject import Question
from harbor_aws.producer.cli.doctor_view import Progress, findings_view, summary

QUESTION = Question(stack="team", kind=Kind.LOCAL, account=None)
FINDINGS = [
    Finding("queue", "The queue answers", Outcome.ok("0 messages waiting [approximately]")),
    Finding("agent-keys", "Agents have keys", Outcome.warning("no Secret", "kubectl create secret")),
    Finding("workers", "Workers run", Outcome.failed("[worker-1] crashes", "harbor-aws deploy")),
    Finding("clock", "The clock is right", Outcome.inapplicable("not a matter of a local stack")),
]


def shown(findings: list[Finding]) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(findings_view(QUESTION, findings))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO
    assert isinstance(text, str)
    return text


def test_what_failed_comes_first() -> None:
    """Below the table, each with what to do; what does not apply is counted alone, and brackets are no markup."""
    text = shown(FINDINGS)
    fixes = text[text.rindex("workers: ") :]
    assert "[worker-1] crashes\n  → harbor-aws deploy\nagent-keys: no Secret\n  → kubectl create secret" in fixes
    assert "0 messages waiting [approximately]" in text
    assert "The clock is right" not in text


def test_what_rests_on_a_failure_is_named_in_one_line() -> None:
    """Not in rows of its own, which would hide the one that failed."""
    resting = [Finding(each, f"{each} is there", Outcome.resting(["workers"])) for each in ("exec", "probe")]
    text = shown([*FINDINGS, *resting])
    assert "Skipped, for they rest on one that is not well: exec, probe\n" in text
    assert "probe is there" not in text
    assert "5 checks: 1 ok, 1 warning, 1 failed, 2 skipped." in text


def test_the_summary() -> None:
    """How many of each, and how many are for other stacks."""
    assert summary(FINDINGS) == "3 checks: 1 ok, 1 warning, 1 failed. 1 more are not a matter of such a stack."
    assert summary(FINDINGS[:1]) == "1 checks: 1 ok."


def test_progress() -> None:
    """It says how far it is and what it waits for, in the order of the checks."""
    progress = Progress(CHECKS[:5])
    assert progress.line.startswith(
        f"Checked 0 of 5; waits for {CHECKS[0].id}, {CHECKS[1].id}, {CHECKS[2].id} and 2 more"
    )
    for check in (CHECKS[1], CHECKS[0], CHECKS[2], CHECKS[3]):
        progress.found(Finding(check.id, check.title, Outcome.ok("")))
    assert progress.line == f"Checked 4 of 5; waits for {CHECKS[4].id}"
    progress.found(Finding(CHECKS[4].id, "", Outcome.ok("")))
    assert progress.line == "Checked 5 of 5"
