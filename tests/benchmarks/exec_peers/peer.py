"""What runs commands in a pod, ours or another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class ExecPeer(Protocol):
    """A client of exec, with its connection settings read and its pool open."""

    async def run(self, text: str, *, on_output: Callable[[], None] = lambda: None) -> int:
        """Run ``bash -c text`` and wait for its exit code.

        Args:
            on_output: called at the first output.
        """

    def requests(self) -> int | None:
        """API requests so far; ``None`` if this peer does not tell."""
