"""What becomes of a secret, however it is written down and wherever it lies across chunks."""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import urllib.parse
from pathlib import Path
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
NUMBER = "1234567890123456"
NEEDLES = Needles({PLAIN: "PLAIN_KEY", HARD: "HARD_KEY", NUMBER: "PIN"})

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
    whole = b"".join(
        b"%d %b " % (number, form.encode()) for number in range(9) for form in (PLAIN, PLAIN[:-1], HARD, NUMBER)
    )
    whole += f".{NUMBER} {NUMBER}.{NUMBER},{NUMBER}".encode()
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    streamed = b"".join(NEEDLES.replaced_in_stream(chunks, same_length=same_length))
    assert streamed == NEEDLES.replaced(whole, same_length=same_length)
    assert NEEDLES.names_in_stream(chunks) == {"PLAIN_KEY", "HARD_KEY", "PIN"}
    assert PLAIN.encode() not in streamed
    assert streamed.endswith(f".{NUMBER} {NUMBER}.{NUMBER},{len(NUMBER) * '9'}".encode())


def test_the_longest_of_two_secrets_is_taken_out_whole() -> None:
    """Of a secret that begins with another one nothing is left."""
    needles = Needles({"abcdefgh": "SHORT", "abcdefghijklmnop": "LONG"})
    assert needles.replaced(b"abcdefghijklmnop abcdefghij") == b"[LONG] [SHORT]ij"


def test_a_mark_is_never_longer_than_the_secret() -> None:
    """So that nobody can make a worker's disk full with a file of secrets; a binary file keeps its length."""
    needles = Needles({"a2345678": "A_VERY_LONG_NAME"})
    assert needles.replaced(b"a2345678") == b"[A_VERY]"
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


def test_what_comes_with_a_secret_is_none() -> None:
    """Of a database's or a service account's JSON neither user, engine, region nor addresses are looked for."""
    database = {"username": "postgres", "engine": "postgresql", "region": "us-east-1", "password": "xK2#postgres"}
    account = {
        "token_uri": "https://oauth2.example.com/token",
        "universe": "storage.googleapis.com",
        "type": "service",
        "private_key": f"-----BEGIN-----\n{'QUJD' * 16}\n-----END-----",
        "hook": "https://me:pw@example.com/",
    }
    needles = Needles({json.dumps(database): "DB", json.dumps(account, indent=1): "GCP"})
    ordinary = b"postgres-migration postgresql us-east-1 storage.googleapis.com https://oauth2.example.com/token"
    assert needles.replaced(ordinary + b' "type": "service",') == ordinary + b' "type": "service",'
    assert needles.names_in(b"PASSWORD=xK2#postgres") == {"DB"}
    assert needles.names_in(b"QUJD" * 16) == {"GCP"}
    assert needles.names_in(b"https://me:pw@example.com/") == {"GCP"}


def test_numbers_stay_numbers() -> None:
    """A short one is not looked for, a long one not within another, and nothing that was JSON is broken by one."""
    needles = Needles({"12345678": "PIN", NUMBER: "LONG_PIN"})
    text = f'{{"x": 0.12345678, "y": 0.{NUMBER}, "z": {NUMBER}7, "id": "a{NUMBER}"}}'.encode()
    assert needles.replaced(text) == text
    assert json.loads(needles.replaced(f'{{"pin": {NUMBER}}}'.encode())) == {"pin": 9999999999999999}
    assert needles.names_in(f"pin={NUMBER}".encode()) == {"LONG_PIN"}


def test_a_large_secret_costs_little_memory() -> None:
    """The largest one there can be, in all its forms; it is taken out whole, or as far as it is there."""
    value = base64.b64encode(os.urandom(49_152)).decode()[:65_535]
    before = resident_mib()
    needles = Needles({value: "LARGE"})
    assert resident_mib() - before < 100
    for written in (value, base64.b64encode(value.encode()).decode(), value.encode().hex()):
        assert needles.replaced(f"<{written}>".encode()) == b"<[LARGE]>"
    cut = f"<{value[:30_000]}#>".encode()
    chunks = [cut[at : at + 5000] for at in range(0, len(cut), 5000)]
    assert b"".join(needles.replaced_in_stream(chunks, same_length=False)) == b"<[LARGE]#>"


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_variables_that_are_no_text() -> None:
    """Their bytes are found in files, and what Python makes of them in texts."""
    value = b"\xff\xfe-secret-".decode(errors="surrogateescape")
    assert Needles({value: "KEY"}).replaced(b"<\xff\xfe-secret->") == b"<[KEY]>"
    assert Scrubber({"KEY": value}).text(f"<{value}>") == "<[KEY]>"


def test_what_one_learns_the_other_does_not_know() -> None:
    """An attempt knows the process's secrets and its own; the process, and so other attempts, only its own."""
    process = Scrubber({"KEY": PLAIN})
    attempt = process.with_more({"OTHER": HARD})
    assert attempt.text(f"{PLAIN} {HARD}") == "[KEY] [OTHER]"
    assert process.text(f"{PLAIN} {HARD}") == f"[KEY] {HARD}"


def test_keys_that_become_one_are_told_apart() -> None:
    """Nothing of a mapping is lost, in whatever order its keys come."""
    scrubber = Scrubber({"KEY": PLAIN})
    assert scrubber.data({PLAIN: 1, "[KEY]": 2, PLAIN.encode().hex(): 3}) == {"[KEY]-2": 1, "[KEY]": 2, "[KEY]-3": 3}


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


def test_words_and_settings_are_no_secrets() -> None:
    """Whatever their names are; nor may a task declare them secrets. What is long, or mixed, is one."""
    ordinary = {
        "PGPASSWORD": "postgres",
        "GIT_AUTHOR_NAME": "Jane Doe the 2nd",
        "HARBOR_AWS_SECRETS": "/a/b/c/d:/e/f/g",
        "TOKEN_FILE": "/var/run/secrets/token",
        "AUTH_URL": "https://example.com/auth",
        "PIN_KEY": "12345678",
    }
    telling = {"MIXED_KEY": "postgres1", "LONG_KEY": "a" * 16, "HTTP_AUTHORIZATION": "Basic x1"}
    assert sensitive_variables(ordinary | telling) == telling
    environ = {
        "HARBOR_AWS_STACK": "team-of-2026",
        "HOME": "/home/some-1",
        "AWS_REGION": "us-east-1",
        "WORD": "postgres",
    }
    assert referred_to({"env": {"API_KEY": [{"A_KEY": f"${{{name}}}"} for name in environ]}}, environ) == {}


def test_a_log_line_is_scrubbed_whole() -> None:
    """Message, arguments, fields, exception and stack of what a handler writes; the record of others is not touched."""
    plain = logging.Formatter("%(message)s %(trial)s")
    formatter = ScrubbingFormatter(plain, lambda: Scrubber({"KEY": PLAIN}))
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


SAYING = f"""
import logging, threading, warnings
from harbor_aws.worker.scrub.logs import scrub_logs
from harbor_aws.worker.scrub.scrubber import Scrubber

class Failing:
    def __del__(self):
        raise ValueError("unraisable {PLAIN}")

logging.basicConfig()
scrub_logs(lambda: Scrubber({{"KEY": "{PLAIN}"}}))
warnings.warn("warned {PLAIN}")
Failing()
def fail():
    raise ValueError("in a thread {PLAIN}")
threading.Thread(target=fail).start()
raise ValueError("uncaught {PLAIN}")
"""


def test_what_python_itself_says_is_scrubbed() -> None:
    """Warnings, exceptions that cannot be raised, and those that nobody caught, in threads too."""
    said = subprocess.run(
        [sys.executable, "-c", SAYING], capture_output=True, text=True, check=False, timeout=60
    ).stderr
    assert PLAIN not in said.replace(SAYING, "")
    for each in ("warned [KEY]", "unraisable [KEY]", "in a thread [KEY]", "uncaught [KEY]"):
        assert each in said
