"""How a secret may be written down. Pure: text in, byte strings out."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from harbor_aws.worker.scrub.telling import LEAST_CHARACTERS, LONG_CHARACTERS, is_place, tells_of_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_CHARACTERS = 16
"""Of a line of a secret of several lines that is looked for by itself: a log may put something before each."""

NUMBER_DIGITS = 16
"""Of a form that is digits alone and is looked for: fewer are anybody's measurement."""

_BASE64_SKIPPED = (0, 2, 3)
"""Characters of base64 that depend on what comes before, by how many bytes those are beyond a multiple of three."""

_HEX_ESCAPE = re.compile(r"%[0-9A-F]{2}")


def forms(value: str) -> set[bytes]:
    """Every way of writing the secret that is looked for; empty if it is too short.

    As it is, without white space around it; as a string in JSON (also twice over), Python, HTML, a shell or a URL; in
    hexadecimal; in base64, wherever in a longer text it stands. Of a secret of several lines also each long line, and
    of one that is a JSON object those strings in it that are secrets by their keys or their looks.
    """
    found: set[bytes] = set()
    for part in _parts(value.strip()):
        if len(part) >= LEAST_CHARACTERS:
            found |= {raw for text in _spellings(part) for raw in _encoded(text)}
            for raw in _encoded(part):
                found |= {raw.hex().encode(), raw.hex().upper().encode(), *_base64(raw)}
    return {form for form in found if len(form) >= (NUMBER_DIGITS if form.isdigit() else LEAST_CHARACTERS)}


def _parts(value: str) -> Iterator[str]:
    yield value
    strings = _json_object(value)
    if strings is None:
        yield from _lines(value)
        return
    for key, text in _strings(strings):
        if tells_of_secret(key, text) or (len(text) >= LONG_CHARACTERS and not is_place(text)):
            yield text
            yield from _lines(text)


def _lines(value: str) -> Iterator[str]:
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= LINE_CHARACTERS and not line.startswith("-----"))


def _json_object(value: str) -> dict[str, Any] | None:
    if not value.startswith("{"):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text, at any depth, with the key that it is under."""
    match value:
        case str():
            yield key, value.strip()
        case dict():
            for name, below in value.items():
                yield from _strings(below, name)
        case list():
            for below in value:
                yield from _strings(below, key)


def _encoded(text: str) -> set[bytes]:
    """As a text that is scrubbed has it, and as a file: they differ where a variable's bytes are no text."""
    in_texts = text.encode(errors="surrogatepass")
    try:
        return {in_texts, text.encode(errors="surrogateescape")}
    except UnicodeEncodeError:  # half a character, out of JSON
        return {in_texts}


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
