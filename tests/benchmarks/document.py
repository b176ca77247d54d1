"""The page of the documentation, made from the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.tables import filled, markdown, tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.benchmarks.results import Results

_INTRODUCTION = """# Benchmarks

harbor-aws beside its peers: each measured in the same run, taking turns, because one machine's speed changes from
minute to minute. Compare the ratios; the figures themselves are the machine's. The commands named below write this
page, and the same numbers to `build/`.
"""


def document(chapters: Iterable[tuple[str, Results]]) -> str:
    """The page.

    Args:
        chapters: a title, and the results of one cluster.
    """
    return "\n".join([_INTRODUCTION, *(_chapter(title, results) for title, results in chapters)])


def _chapter(title: str, results: Results) -> str:
    commands = sorted({str(value) for key, value in results.items() if key.endswith("_command")})
    about = (
        f"{results['made_on']}, {results['machine']}. Kubernetes {results['kubernetes']}; {results['versions']}. "
        f"Made by {' and '.join(f'`{command}`' for command in commands)}."
    )
    return "\n".join([f"## {title}", "", filled(about), "", *(markdown(table) for table in tables(results))])
