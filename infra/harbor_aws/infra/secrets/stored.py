"""What is shown of a secret that is kept. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret's name and age; never its value."""

    name: str
    since: datetime | None
    """When it was last set (UTC), if that is known: kubectl leaves no note."""
