"""What becomes of a secret, however it is written down and wherever it lies across chunks."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import shlex
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from harbor_aws.worker.scrub.known import referred_to, sensitive_variables
from harbor_aws.worker.scrub.logs import ScrubbingFormatter
from harbor_aws.worker.scrub.needles import Needles
from harbor_aws.worker.scrub.scrubber import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = "sk-ant-api03-Zk3vQ8_x7Lw2-PmR9tYb"
HARD = "pa ss/w\"ord'&<\\>+=é%\tend"
NEEDLES = Needles({PLAIN: "PLAIN_KEY", HARD: "HARD_KEY"})

WRITINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in JSON": lambda value: json.dumps({"x": value}),
    "in JSON, not only ASCII": lambda value: json.dumps({"x": value}, ensure_ascii=False),
    "in JSON in JSON": lambda value: json.dumps(json.dumps({"x": value})),
    "in Python": lambda value: repr([value]),
    "in HTML": html.escape,
    "in a shell": shlex.quote,
    "in a path of a URL": urllib.parse.quote,
    "in a query of a URL": urllib.parse.quote_plus,
    "in a form": lambda value: urllib.parse.urlencode({"x": value}),
    "in lower-case escapes": lambda value: re.sub(
        "%..", lambda found: found[0].lower(), urllib.parse.quote(value, safe="")
    ),
    "in hexadecimal": lambda value: value.encode().hex(),
    "in base64": lambda value: base64.b64encode(value.encode()).decode(),
    "in base64, second": lambda value: base64.b64encode(b"k" + value.encode() + b"\n").decode(),
    "in base64, third": lambda value: base64.b64encode(b"ke" + value.encode() + b"\nmore").decode(),
    "in base64 for URLs": lambda value: base64.urlsafe_b64encode(b"user:" + value.encode()).decode(),
}


@pytest.mark.parametrize("value", [PLAIN, HARD])
@pytest.mark.parametrize("writing", WRITINGS)
def test_a_secret_is_found_however_it_is_written(value: str, writing: str) -> None:
    """Nothing of the written form's inner part is left, and what is around it is."""
    written = WRITINGS[writing](value)
    left = NEEDLES.replaced(f"before {written} after".encode()).decode()
    assert left.startswith("before ")
    assert left.endswith(" after")
    name = "PLAIN_KEY" if value == PLAIN else "HARD_KEY"
    assert f"[{name}]" in left
    inner = written.strip("\"'[]{}=")[4:-6]
    assert inner not in left
    assert NEEDLES.names_in(written.encode()) == {name}


def test_what_is_no_secret_stays() -> None:
    """Other text is the same afterwards, bytes that are no text included."""
    text = b"sk-ant-api03- and \xff\x00 PLAIN_KEY"
    assert NEEDLES.replaced(text) == text
    assert NEEDLES.names_in(text) == set()


@pytest.mark.parametrize("size", [1, 2, 7, 16, 64, 1000])
@pytest.mark.parametrize("same_length", [True, False])
def test_chunks_make_no_difference(size: int, same_length: bool) -> None:
    """In whatever pieces bytes come, they become what they become in one."""
    whole = b"".join(b"%d %b " % (number, form.encode()) for number in range(9) for form in (PLAIN, PLAIN[:-1], HARD))
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    streamed = b"".join(NEEDLES.replaced_in_stream(chunks, same_length=same_length))
    assert streamed == NEEDLES.replaced(whole, same_length=same_length)
    assert NEEDLES.names_in_stream(chunks) == {"PLAIN_KEY", "HARD_KEY"}
    assert PLAIN.encode() not in streamed


def test_the_longest_of_two_secrets_is_taken_out_whole() -> None:
    """Of a secret that begins with another one nothing is left."""
    needles = Needles({"abcdefgh": "SHORT", "abcdefghijklmnop": "LONG"})
    assert needles.replaced(b"abcdefghijklmnop abcdefghij") == b"[LONG] [SHORT]ij"


def test_a_mark_is_never_longer_than_the_secret() -> None:
    """So that nobody can make a worker's disk full with a file of secrets; a binary file keeps its length."""
    needles = Needles({"12345678": "A_VERY_LONG_NAME"})
    assert needles.replaced(b"12345678") == b"[A_VERY]"
    assert NEEDLES.replaced(PLAIN.encode(), same_length=True) == b"[PLAIN_KEY]".ljust(len(PLAIN), b"*")


def test_short_values_are_words() -> None:
    """A value of less than eight characters is looked for in no form."""
    assert not Needles({"1234567": "SHORT", "       ": "BLANK"})


def test_the_parts_of_a_secret_are_secrets() -> None:
    """Long lines of one with several, and texts in one that is JSON, are found by themselves."""
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END KEY-----"
    needles = Needles({pem: "PEM", '{"user": "me", "password": "hunter2hunter2"}': "LOGIN"})
    assert needles.replaced(b"1: MIIEvQIBADANBgkqhkiG9w0B") == b"1: [PEM]"
    assert needles.replaced(b"-----BEGIN KEY----- hunter2hunter2 me") == b"-----BEGIN KEY----- [LOGIN] me"


def test_a_scrubber_goes_on_learning() -> None:
    """Texts, and JSON's values and keys, lose every secret that it has been told of; numbers stay."""
    scrubber = Scrubber({"KEY": PLAIN})
    assert scrubber.text(f"{PLAIN} {HARD}") == f"[KEY] {HARD}"
    scrubber.learn({"OTHER": HARD, "AGAIN": PLAIN})
    assert scrubber.data({HARD: [PLAIN, 1, None, {"x": f"<{PLAIN}>"}]}) == {
        "[OTHER]": ["[KEY]", 1, None, {"x": "<[KEY]>"}]
    }
    assert scrubber.text("\udcff" + PLAIN) == "\udcff[KEY]"


def test_known_by_name() -> None:
    """The variables that Harbor takes for secrets, and those that a configuration gives on as one."""
    environ = {"API_KEY": PLAIN, "HOME": "/home/somebody", "SHORT_TOKEN": "abc", "PLAIN": HARD, "UNUSED": HARD}
    assert sensitive_variables(environ) == {"API_KEY": PLAIN}
    configuration = {
        "agent": {"env": {"A_TOKEN": "${PLAIN}", "PATH": "${HOME}"}},
        "steps": [{"env": {"AUTH": "${NONE:-x}"}}],
    }
    assert referred_to(configuration, environ) == {"PLAIN": HARD}


def test_a_log_line_is_scrubbed_whole() -> None:
    """Message, arguments, fields, exception and stack of what a handler writes; the record of others is not touched."""
    plain = logging.Formatter("%(message)s %(trial)s")
    formatter = ScrubbingFormatter(plain, Scrubber({"KEY": PLAIN}))
    try:
        raise ValueError(PLAIN)
    except ValueError as error:
        told = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "with %s", (PLAIN,), told, sinfo=f"Stack {PLAIN}")
    record.trial = PLAIN
    line = formatter.format(record)
    assert PLAIN not in line
    assert line.startswith("with [KEY] [KEY]\nTraceback")
    assert "ValueError: [KEY]\nStack [KEY]" in line
    assert PLAIN in plain.format(record)
