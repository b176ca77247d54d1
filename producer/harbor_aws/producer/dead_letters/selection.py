"""Which dead letters are meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from harbor_aws.producer.dead_letters.letter import Letter

SHORT_ID_CHARACTERS = 8
"""Shown of an id; more where that is not enough to tell two letters apart."""

_SHOWN_MATCHES = 5


@dataclass(frozen=True, slots=True)
class Selection:
    """Letters that fulfil every condition that is given."""

    ids: Sequence[str] = ()
    """Beginnings of ids, each of exactly one letter."""
    job: str | None = None
    cause: str | None = None
    since: timedelta | None = None
    """How long ago a letter may have died."""

    @property
    def is_open(self) -> bool:
        """Whether it means every letter."""
        return not self.ids and self.job is None and self.cause is None and self.since is None

    def of(self, letters: Sequence[Letter]) -> list[Letter]:
        """The letters that are meant, in the order in which they came.

        Raises:
            UsageError: an id is of none, or of several.
        """
        named = {find(letters, prefix).id for prefix in self.ids}
        oldest = datetime.now(UTC) - self.since if self.since is not None else None
        return [
            letter
            for letter in letters
            if (not self.ids or letter.id in named)
            and self.job in (None, letter.job)
            and self.cause in (None, letter.cause)
            and (oldest is None or letter.at >= oldest)
        ]


def find(letters: Iterable[Letter], prefix: str) -> Letter:
    """The one letter whose id begins like that.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = [letter for letter in letters if letter.id.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"There is no dead letter {prefix!r}; `harbor-aws dlq list` shows them.")
    some = ", ".join(letter.id for letter in found[:_SHOWN_MATCHES])
    raise UsageError(f"{prefix!r} is the beginning of {len(found)} dead letters; say more of it: {some}.")


def short_ids(letters: Iterable[Letter]) -> dict[str, str]:
    """By id, the shortest beginning of at least eight characters that is unique here."""
    ids = sorted({letter.id for letter in letters})
    shortest = {}
    for index, identity in enumerate(ids):
        neighbours = ids[max(index - 1, 0) : index] + ids[index + 1 : index + 2]
        length = max((_common(identity, other) + 1 for other in neighbours), default=0)
        shortest[identity] = identity[: max(length, SHORT_ID_CHARACTERS)]
    return shortest


def _common(one: str, other: str) -> int:
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
