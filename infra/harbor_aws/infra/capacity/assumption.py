"""A number that the model takes for granted, with where it is from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

READ_ON = "2026-11-23"
"""When the sources, or public copies of them, were last read, unless an assumption says otherwise."""

_KEY = "assumption"


@dataclass(frozen=True, slots=True)
class Assumption:
    """What is known of a number."""

    name: str
    """The field's."""
    default: object
    meaning: str
    unit: str
    source: str
    """An address, a module of ours, or how it was measured."""
    read_on: str | None
    """The day, as YYYY-MM-DD; ``None`` if the source is of this repository, or a guess."""


def assumed[T](default: T, *, meaning: str, unit: str, source: str, read_on: str = READ_ON) -> T:
    """A dataclass's field with this default, of which :func:`assumptions` tells the rest."""
    read = read_on if source.startswith("https://") else None
    return field(default=default, metadata={_KEY: Assumption("", default, meaning, unit, source, read)})


def assumptions(of: type[DataclassInstance]) -> list[Assumption]:
    """What a dataclass's fields assume, in their order."""
    return [replace(each.metadata[_KEY], name=each.name) for each in fields(of)]
