"""Looks for many secrets in one pass over bytes, whole or as they come. Immutable, so any thread may use it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from harbor_aws.worker.scrub.forms import forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Match = tuple[int, int, int]
    """A form's index, where it begins, and where it ends."""

LONG_BYTES = 1024
"""Of a form of which only the beginning is looked for: an automaton has up to a kilobyte for each byte of its needles,
so a secret of 64 KB in all its forms made one of 469 MiB (2026-11-23)."""

BEGINNING_BYTES = 256
"""Of a long form."""

_PART_OF_A_NUMBER = re.compile(rb"[0-9A-Za-z.]")


class Needles:
    """What is looked for, and what is put in its place: the secret's name in brackets, never longer than it was.

    A secret of digits alone is replaced where it is the whole number, and by nines: where numbers are, no name may be.

    Args:
        names: by secret, what is shown instead of it.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        known: dict[bytes, tuple[bytes, str]] = {}
        for value, name in names.items():
            for form in forms(value):
                needle = form if len(form) <= LONG_BYTES else form[:BEGINNING_BYTES]
                if needle not in known or len(known[needle][0]) <= len(form):
                    known[needle] = form, name
        ordered = sorted(known)
        self._forms = [known[needle][0] for needle in ordered]
        self._names = [known[needle][1] for needle in ordered]
        self._search = BytesAhoCorasick(ordered, matchkind=MatchKind.LeftmostLongest) if ordered else None
        self._reach = max(map(len, self._forms), default=0) + 1  # with what comes after it

    def __bool__(self) -> bool:
        return self._search is not None

    def names_in(self, data: bytes) -> set[str]:
        """The names of the secrets that are in there."""
        return {self._names[index] for index, _, _ in self._found(data)}

    def replaced(self, data: bytes, *, same_length: bool = False) -> bytes:
        """``data`` without its secrets; with ``same_length`` the rest stays where it is."""
        return b"".join(self._pieces(data, self._found(data), same_length=same_length))

    def names_in_stream(self, chunks: Iterable[bytes]) -> set[str]:
        """The names of the secrets that are in there, also across the chunks' boundaries."""
        return {self._names[index] for _, found in self._windows(chunks) for index, _, _ in found}

    def replaced_in_stream(self, chunks: Iterable[bytes], *, same_length: bool) -> Iterator[bytes]:
        """The same bytes without their secrets, also across the chunks' boundaries."""
        for data, found in self._windows(chunks):
            yield from self._pieces(data, found, same_length=same_length)

    def _windows(self, chunks: Iterable[bytes]) -> Iterator[tuple[bytes, list[Match]]]:
        """The stream in consecutive parts of which none ends within a secret, and what is found in each."""
        rest = before = b""
        for chunk in chunks:
            data = rest + chunk
            limit = max(0, len(data) - self._reach)  # what begins after it may go on in what is to come
            found = [match for match in self._found(data, before) if match[1] < limit]
            end = max(limit, found[-1][2] if found else 0)
            yield data[:end], found
            before, rest = data[:end][-1:] or before, data[end:]
        yield rest, list(self._found(rest, before))

    def _found(self, data: bytes, before: bytes = b"") -> Iterator[Match]:
        """What is in ``data``, in order, none within another; ``before`` is the byte before it, if there is one."""
        end = 0
        for index, start, stop in self._search.find_matches_as_indexes(data) if self._search else ():
            form = self._forms[index]
            if form.isdigit() and _goes_on(data[start - 1 : start] if start else before, data[stop : stop + 1]):
                continue
            if stop - start < len(form):
                stop = start + _alike(form, data[start : start + len(form)])
            if stop > end:
                yield index, max(start, end), stop
                end = stop

    def _pieces(self, data: bytes, found: Iterable[Match], *, same_length: bool) -> Iterator[bytes]:
        end = 0
        for index, start, stop in found:
            yield data[end:start]
            yield self._mark(index, stop - start, same_length=same_length)
            end = stop
        yield data[end:]

    def _mark(self, index: int, length: int, *, same_length: bool) -> bytes:
        if self._forms[index].isdigit():
            return b"9" * length
        mark = f"[{self._names[index]}]".encode("ascii", errors="replace")
        if len(mark) > length:
            mark = mark[: length - 1] + b"]"
        return mark.ljust(length, b"*") if same_length else mark


def _alike(form: bytes, data: bytes) -> int:
    """How many bytes are the same, from the beginning."""
    return next((at for at, (one, other) in enumerate(zip(form, data, strict=False)) if one != other), len(data))


def _goes_on(before: bytes, after: bytes) -> bool:
    return bool(_PART_OF_A_NUMBER.match(before) or _PART_OF_A_NUMBER.match(after))
