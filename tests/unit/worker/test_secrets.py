"""What a worker does with its secrets when it begins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, override

import pytest

from harbor_aws.infra.secrets.manager import SecretUnavailableError
from harbor_aws.infra.secrets.names import DIRECTORIES_VARIABLE
from harbor_aws.infra.secrets.reference import SecretReference
from harbor_aws.infra.stack import Stack
from harbor_aws.worker.secrets import UnreadableSecretsError, load_secrets, resolve_references

if TYPE_CHECKING:
    from pathlib import Path

VALUE = "sk-0123456789abcdef"


class Vault:
    """Has one secret, and one that no variable can hold."""

    def read(self, reference: SecretReference) -> str:
        if reference.secret == "team/nul":
            return f"{VALUE}\0"
        if reference != SecretReference("team/models", "openai"):
            raise SecretUnavailableError(f"{reference.secret}: AccessDeniedException. To do: ask.")
        return VALUE


def test_secrets_become_variables(tmp_path: Path) -> None:
    """Of several directories the later wins, and both over the environment; settings are none of the secrets.

    Those of the last were given as secrets. Of the shell's, in the one before, their names have to tell.
    """
    for directory, name, value in (
        ("a", "KEY", "first"), ("a", "PGPASSWORD", "postgres"), ("b", "KEY", VALUE), ("b", "HARBOR_AWS_SLOTS", "7")
    ):  # fmt: skip
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / name).write_text(value)
    directories = os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")])
    environ = {DIRECTORIES_VARIABLE: directories, "KEY": "the shell's"}
    assert load_secrets(environ) == {"KEY": VALUE}
    variables = {"KEY": VALUE, "PGPASSWORD": "postgres", "HARBOR_AWS_SLOTS": "7"}
    assert environ == {DIRECTORIES_VARIABLE: directories, **variables}
    assert load_secrets({"KEY": VALUE}) == {}


def test_references_are_resolved() -> None:
    """A variable that is one becomes what it refers to; others stay."""
    environ = {"OPENAI_API_KEY": "secretsmanager:team/models#openai", "HOME": "/"}
    assert resolve_references(environ, Vault()) == {"OPENAI_API_KEY": VALUE}
    assert environ == {"OPENAI_API_KEY": VALUE, "HOME": "/"}


def test_references_that_cannot_be_resolved() -> None:
    """All of them are named, with the reason and what to do, and nothing is changed."""
    environ = {"A": "secretsmanager:team/a", "B": "secretsmanager:team/b", "C": "secretsmanager:team/models#openai",
               "D": "secretsmanager:team/nul"}  # fmt: skip
    before = dict(environ)
    with pytest.raises(UnreadableSecretsError) as refused:
        resolve_references(environ, Vault())
    assert "A refers to secretsmanager:team/a, which cannot be read: team/a: Access" in str(refused.value)
    assert "B refers to" in str(refused.value)
    assert "C refers to" not in str(refused.value)
    assert "D refers to secretsmanager:team/nul, which holds a NUL" in str(refused.value)
    assert VALUE not in str(refused.value)
    assert environ == before


class Refusing(BaseHTTPRequestHandler):
    """A Secrets Manager that refuses everybody."""

    def do_POST(self) -> None:
        body = b'{"__type": "AccessDeniedException", "Message": "not you"}'
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None: ...


def test_a_worker_does_not_begin_half_blind(tmp_path: Path) -> None:
    """It exits with 2, says which variable it is about and what to do, and has taken nothing from a queue."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            done = begin_worker(tmp_path, endpoint_url=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
    assert done.returncode == 2, done.stderr
    assert "MODEL_API_KEY refers to secretsmanager:team/models#openai, which cannot be read" in done.stderr
    assert "AccessDeniedException (not you). To do: workers may read" in done.stderr
    assert "Traceback" not in done.stderr


def begin_worker(home: Path, *, endpoint_url: str) -> subprocess.CompletedProcess[str]:
    """A worker process whose MODEL_API_KEY is a reference, to its end."""
    stack = Stack(
        name="team", region="r", queue_url="-", dead_letter_queue_url="-", bucket="-", endpoint_url=endpoint_url
    )
    file = home / "harbor-aws" / "team" / "stack.json"
    file.parent.mkdir(parents=True)
    file.write_text(stack.model_dump_json())
    reference = {"MODEL_API_KEY": "secretsmanager:team/models#openai"}
    return subprocess.run(
        [sys.executable, "-m", "harbor_aws.worker"],
        env={**os.environ, "XDG_STATE_HOME": str(home), "HARBOR_AWS_STACK": "team", **reference},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
