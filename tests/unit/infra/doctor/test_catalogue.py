"""All checks together, and that the documents have them."""

from __future__ import annotations

import re
from pathlib import Path

from harbor_aws.infra.doctor.catalogue import CHECKS
from harbor_aws.infra.doctor.check import Kind

OPERATIONS = Path(__file__).parents[4] / "docs" / "operations.md"


def test_each_comes_after_what_it_needs() -> None:
    """And needs nothing that there is not; no two have one id."""
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check.id
        assert check.id not in seen
        seen.add(check.id)


def test_what_is_local_rests_on_nothing_that_is_not() -> None:
    """But for what has no meaning there, and then counts as well: in the end each rests on the stack."""
    local = {check.id for check in CHECKS if Kind.LOCAL in check.applies_to}
    reaching = {"stack", "versions"}
    for check in CHECKS:
        if check.id in local - reaching:
            assert reaching & set(check.needs), check.id
            reaching.add(check.id)


def test_each_says_something() -> None:
    """A title for people, and what to do when it cannot look."""
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
        assert check.title[0].isupper()
        assert not check.title.endswith(".")
        assert check.fix


def test_the_documents_have_every_check() -> None:
    """The table in operations.md lists each check, in order, and no other."""
    section = OPERATIONS.read_text().split("## Doctor\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`([^`]+)`", row)] == [check.id for check in CHECKS]
