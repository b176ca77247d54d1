"""What a check is: a name, what it rests on, and how to look. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harbor_aws.infra.doctor.finding import Outcome
    from harbor_aws.infra.doctor.subject import Subject


class Kind(StrEnum):
    """What a stack is made on."""

    AWS = "a stack on AWS"
    LOCAL = "a local stack"


EVERYWHERE = frozenset(Kind)
ON_AWS = frozenset({Kind.AWS})
ON_THIS_MACHINE = frozenset({Kind.LOCAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that can be wrong."""

    id: str
    title: str
    """What is so if nothing is wrong."""
    look: Callable[[Subject], Awaitable[Outcome]]
    """May raise errors of this project's, which are failures, and
    :class:`~harbor_aws.infra.doctor.asking.MayNotAskError`, which skips it."""
    fix: str
    """What to do when the look itself failed: nothing answered, or something unforeseen did."""
    needs: tuple[str, ...] = ()
    """Ids of checks without which there is nothing to look at; those that do not apply to the stack do not count."""
    applies_to: frozenset[Kind] = EVERYWHERE
    seconds: float | None = None
    """How long a look may take; ``None``: as long as the run says."""
