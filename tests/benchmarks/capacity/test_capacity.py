"""What is shown of the model is what it says."""

from __future__ import annotations

from itertools import product

import pytest
from tests.benchmarks.capacity import capacity_tables, plot
from tests.benchmarks.capacity.__main__ import PAGE, PICTURE, rows
from tests.benchmarks.capacity.blocks import replaced
from tests.benchmarks.capacity.scenarios import VCPUS, as_json, scenario

SMALL = (100, 1_000)


def test_the_page_says_what_the_model_says() -> None:
    """The page's assumptions and smaller runs are those of the code; else run ``make capacity``."""
    page = PAGE.read_text()
    assert rows(capacity_tables.sources()) in page
    runs = rows(capacity_tables.runs([scenario(trials, vcpus) for trials, vcpus in product(SMALL, VCPUS)]))
    assert runs in page
    assert f"({PICTURE.name})" in page


def test_the_picture_is_the_same_whenever_it_is_drawn() -> None:
    """Two drawings are the same bytes, without a date, and one of other runs is not."""
    runs = [scenario(100, vcpus) for vcpus in (6, 256)]
    drawn = plot.draw(runs, runs)
    assert drawn == plot.draw(runs, runs)
    assert drawn != plot.draw(runs[::-1], runs)
    assert b"dc:date" not in drawn


def test_more_vcpus_never_show_a_longer_run() -> None:
    """What is kept of runs falls with the vCPUs, names what binds, and costs something."""
    found = [as_json(scenario(1_000, vcpus)) for vcpus in VCPUS]
    walls = [float(str(each["wall_clock_seconds"])) for each in found]
    assert walls == sorted(walls, reverse=True)
    assert found[0]["binding"] == "account's vCPUs"
    assert all(float(str(each["usd"])) > 1 for each in found)


def test_a_part_of_a_page_is_replaced() -> None:
    """What is between the two comments goes, all else stays, and a page without them is refused."""
    page = "a\n<!-- runs -->\nold\n<!-- end of runs -->\nb\n"
    assert replaced(page, "runs", "new\n") == "a\n<!-- runs -->\nnew\n<!-- end of runs -->\nb\n"
    with pytest.raises(ValueError, match="no part"):
        replaced("a", "runs", "")
