"""Verdicts, and what they come to."""

from __future__ import annotations

import pytest

from harbor_aws.infra.doctor.finding import Finding, Outcome, Verdict, counts, worst

OK, WARNING = Outcome.ok("1"), Outcome.warning("2", "look")
FAILED, SKIPPED = Outcome.failed("3", "mend"), Outcome.skipped("4")


def findings(*outcomes: Outcome) -> list[Finding]:
    return [Finding(str(number), "Title", outcome) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((OK, SKIPPED), Verdict.OK),
        ((OK, WARNING, SKIPPED), Verdict.WARNING),
        ((WARNING, FAILED, OK), Verdict.FAILED),
        ((SKIPPED,), Verdict.OK),
        ((), Verdict.OK),
    ],
)
def test_the_worst_counts(outcomes: tuple[Outcome, ...], verdict: Verdict) -> None:
    """A failure before a warning; what was skipped is neither."""
    assert worst(findings(*outcomes)) is verdict


def test_counts() -> None:
    """Of every verdict, those that nobody had included."""
    assert counts(findings(OK, OK, FAILED)) == {
        Verdict.OK: 2,
        Verdict.WARNING: 0,
        Verdict.FAILED: 1,
        Verdict.SKIPPED: 0,
    }


def test_what_blocks() -> None:
    """A failure and what cannot be told; not a warning, nor what is not allowed."""
    assert [each.is_blocking for each in (OK, WARNING, FAILED, SKIPPED, Outcome.blocked("5"))] == [
        False,
        False,
        True,
        False,
        True,
    ]
