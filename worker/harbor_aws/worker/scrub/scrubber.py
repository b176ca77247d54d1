"""A worker process's one knowledge of its secrets."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from harbor_aws.worker.scrub.needles import Needles

if TYPE_CHECKING:
    from collections.abc import Mapping


class Scrubber:
    """Replaces secrets by their names, in texts and in JSON. What it once knew it goes on knowing. Thread-safe.

    Attributes:
        needles: the search for what is known at present.
    """

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._names: dict[str, str] = {}
        self._learning = Lock()
        self.needles = Needles({})
        self.learn(secrets or {})

    def learn(self, secrets: Mapping[str, str]) -> None:
        """Know these as well, values by name. A value that is known already keeps its name."""
        with self._learning:
            new = {value: name for name, value in sorted(secrets.items(), reverse=True) if value not in self._names}
            if new:
                self._names |= new
                self.needles = Needles(self._names)

    def text(self, text: str) -> str:
        """``text`` without its secrets."""
        if not self.needles:
            return text
        return self.needles.replaced(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def data(self, value: Any) -> Any:
        """JSON's values with every string in them, keys too, without its secrets."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.data(key): self.data(below) for key, below in value.items()}
            case list():
                return [self.data(below) for below in value]
            case _:
                return value
