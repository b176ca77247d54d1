"""Looks for many secrets in one pass over bytes, whole or as they come. Immutable, so any thread may use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from harbor_aws.worker.scrub.forms import forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Needles:
    """What is looked for, and what is put in its place: the secret's name in brackets, never longer than it was.

    Args:
        names: by secret, what is shown instead of it.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        by_form = {form: name for value, name in names.items() for form in forms(value)}
        ordered = sorted(by_form)
        self._marks = [f"[{by_form[form]}]" for form in ordered]
        self._search = BytesAhoCorasick(ordered, matchkind=MatchKind.LeftmostLongest) if ordered else None
        self._overlap = max(map(len, ordered), default=1) - 1

    def __bool__(self) -> bool:
        return self._search is not None

    def names_in(self, data: bytes) -> set[str]:
        """The names of the secrets that are in there."""
        return {self._marks[index][1:-1] for index, _, _ in self._found(data)}

    def replaced(self, data: bytes, *, same_length: bool = False) -> bytes:
        """``data`` without its secrets; with ``same_length`` the rest stays where it is."""
        pieces, _ = self._replaced(data, len(data), same_length=same_length)
        return b"".join(pieces)

    def names_in_stream(self, chunks: Iterable[bytes]) -> set[str]:
        """The names of the secrets that are in there, also across the chunks' boundaries."""
        names: set[str] = set()
        before = b""
        for chunk in chunks:
            data = before + chunk
            names |= self.names_in(data)
            before = data[-self._overlap :] if self._overlap else b""
        return names

    def replaced_in_stream(self, chunks: Iterable[bytes], *, same_length: bool) -> Iterator[bytes]:
        """The same bytes without their secrets, also across the chunks' boundaries."""
        rest = b""
        for chunk in chunks:
            data = rest + chunk
            pieces, end = self._replaced(data, max(0, len(data) - self._overlap), same_length=same_length)
            yield from pieces
            rest = data[end:]
        yield self.replaced(rest, same_length=same_length)

    def _found(self, data: bytes) -> list[tuple[int, int, int]]:
        return self._search.find_matches_as_indexes(data) if self._search else []

    def _replaced(self, data: bytes, limit: int, *, same_length: bool) -> tuple[list[bytes], int]:
        """What becomes of the data, and how much of it was taken: up to ``limit`` or the secret that lies across it.

        A secret that begins after it may be longer than is seen here.
        """
        pieces, end = [], 0
        for index, start, stop in self._found(data):
            if start >= limit:
                break
            pieces += [data[end:start], self._mark(index, stop - start, same_length=same_length)]
            end = stop
        taken = max(end, limit)
        return [*pieces, data[end:taken]], taken

    def _mark(self, index: int, length: int, *, same_length: bool) -> bytes:
        mark = self._marks[index].encode("ascii", errors="replace")
        if len(mark) > length:
            mark = mark[: length - 1] + b"]"
        return mark.ljust(length, b"*") if same_length else mark
