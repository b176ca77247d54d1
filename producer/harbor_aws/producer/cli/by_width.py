"""Something to print that has another form on a narrow terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

WIDE_COLUMNS = 110
"""From how many columns on a table of seven or eight columns can be read."""


@dataclass(frozen=True, slots=True)
class ByWidth:
    """For rich: ``wide`` where there is room for it, else ``narrow``."""

    wide: RenderableType
    narrow: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self.wide if options.max_width >= WIDE_COLUMNS else self.narrow
