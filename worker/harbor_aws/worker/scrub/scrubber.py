"""What is known of secrets: by a worker process, and by each of its attempts."""

from __future__ import annotations

from itertools import chain, count
from threading import Lock
from typing import TYPE_CHECKING, Any

from harbor_aws.worker.scrub.needles import Needles

if TYPE_CHECKING:
    from collections.abc import Mapping, Set


class Scrubber:
    """Replaces secrets by their names, in texts and in JSON. What it once knew it goes on knowing. Thread-safe.

    Attributes:
        needles: the search for what is known at present.
    """

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._names: Mapping[str, str] = {}
        self._learning = Lock()
        self.needles = Needles({})
        self.learn(secrets or {})

    def learn(self, secrets: Mapping[str, str]) -> None:
        """Know these as well, values by name. A value that is known already keeps its name. Takes a while."""
        with self._learning:
            new = {value: name for name, value in sorted(secrets.items(), reverse=True) if value not in self._names}
            if new:
                self._names = {**self._names, **new}
                self.needles = Needles(self._names)

    def with_more(self, secrets: Mapping[str, str]) -> Scrubber:
        """Another one, which knows these as well; this one does not learn of them."""
        more = Scrubber()
        with self._learning:
            more._names, more.needles = self._names, self.needles
        more.learn(secrets)
        return more

    def text(self, text: str) -> str:
        """``text`` without its secrets."""
        if not self.needles:
            return text
        return self.needles.replaced(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def data(self, value: Any) -> Any:
        """JSON's values with every string in them, keys too, without its secrets. A key that is taken gets a number."""
        match value:
            case str():
                return self.text(value)
            case dict():
                scrubbed: dict[str, Any] = {}
                for key, below in value.items():
                    scrubbed[self._key(key, value.keys() | scrubbed.keys())] = self.data(below)
                return scrubbed
            case list():
                return [self.data(below) for below in value]
            case _:
                return value

    def _key(self, key: str, taken: Set[str]) -> str:
        base = self.text(key)
        if base == key:
            return key
        numbered = (f"{base}-{number}" for number in count(2))
        return next(new for new in chain([base], numbered) if new not in taken)
