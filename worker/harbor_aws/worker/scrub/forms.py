"""How a secret may be written down. Pure: text in, byte strings out."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_CHARACTERS = 8
"""Of a value that is looked for: shorter ones are words, and would be found everywhere. Harbor's own logs, too, show
nothing of values up to this length (``harbor.utils.env.redact_sensitive_value``)."""

LINE_CHARACTERS = 16
"""Of a line of a secret of several lines that is looked for by itself: a log may put something before each."""

_BASE64_SKIPPED = (0, 2, 3)
"""Characters of base64 that depend on what comes before, by how many bytes those are beyond a multiple of three."""

_HEX_ESCAPE = re.compile(r"%[0-9A-F]{2}")


def forms(value: str) -> set[bytes]:
    """Every way of writing the secret that is looked for; empty if it is too short.

    As it is, without white space around it; as a string in JSON (also twice over), Python, HTML, a shell or a URL; in
    hexadecimal; in base64, wherever in a longer text it stands. Of a secret of several lines also each long line, and
    of one that is a JSON object the strings in it.
    """
    found: set[bytes] = set()
    for part in (value.strip(), *_lines(value), *_strings_of_json(value)):
        if len(part) >= LEAST_CHARACTERS:
            raw = part.encode(errors="surrogatepass")
            found |= {text.encode(errors="surrogatepass") for text in _spellings(part)}
            found |= {raw.hex().encode(), raw.hex().upper().encode(), *_base64(raw)}
    return {form for form in found if len(form) >= LEAST_CHARACTERS}


def _lines(value: str) -> Iterator[str]:
    lines = [line.strip() for line in value.strip().splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= LINE_CHARACTERS and not line.startswith("-----"))


def _strings_of_json(value: str) -> Iterator[str]:
    if value.lstrip().startswith("{"):
        try:
            yield from _strings(json.loads(value))
        except ValueError:
            return


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value.strip()
        case dict():
            for below in value.values():
                yield from _strings(below)
        case list():
            for below in value:
                yield from _strings(below)


def _spellings(text: str) -> Iterator[str]:
    yield text
    in_json = json.dumps(text)[1:-1]
    yield from (in_json, json.dumps(in_json)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
    yield from (html.escape(text), text.replace("'", "'\\''"), text.replace("'", "'\"'\"'"))
    raw = text.encode(errors="surrogatepass")
    for in_url in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield from (in_url, _HEX_ESCAPE.sub(lambda escape: escape[0].lower(), in_url))


def _base64(raw: bytes) -> Iterator[bytes]:
    """Without the characters that what comes before or after has a part in, and in both alphabets."""
    for before, skipped in enumerate(_BASE64_SKIPPED):
        padded = b"\0" * before + raw
        whole = len(padded) * 8 // 6  # characters that are made of these bytes alone
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded)[skipped:whole]
