"""A canary in every place where a secret can be, an agent that sings, and then the search for them everywhere."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import zstandard
from tests.integration.canaries import NAMES, Processes, Wire, found_in, hatch
from tests.integration.leaking_agent import IMPORT_PATH
from tests.tiny_tasks import make_task

from harbor_aws.infra.aws import secretsmanager_client
from harbor_aws.infra.objects import ObjectStore
from harbor_aws.infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(200)]

TASK_TOML = """\
version = "1.0"
[environment]
docker_image = "debian:bookworm"
cpus = 1
memory_mb = 512
[environment.env]
TASK_SECRET = "${TASK_SECRET}"
API_KEY = "${TASK_PLAIN}"
[verifier.env]
VERIFIER_TOKEN = "${VERIFIER_TOKEN}"
[solution.env]
SOLUTION_PASSWORD = "${SOLUTION_PASSWORD}"
"""
SINGING = "#!/bin/sh\nenv; env | base64 -w0\nenv > /logs/verifier/env.txt\necho 1 > /logs/verifier/reward.txt\n"
KEPT_ELSEWHERE = ("STORED", "MANAGED")
"""Of the canaries, those that are in no shell."""

REFUSED = "in-clear"


@dataclass
class Aviary:
    """A local stack whose worker says everything through recording proxies."""

    home: Path
    canaries: dict[str, str]
    directory: Path
    """Where tasks are, and jobs go to."""
    printed: bytes = b""
    """By all commands."""

    def run(self, *arguments: str, stdin: str | None = None, code: int = 0) -> str:
        shell = {name: value for name, value in self.canaries.items() if name not in KEPT_ELSEWHERE}
        settings = {"XDG_STATE_HOME": str(self.home), "COLUMNS": "200", "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("harbor-aws")), *arguments],
            env={**os.environ, **shell, **settings}, input=stdin or "", capture_output=True, text=True, timeout=100,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        self.printed += (done.stdout + done.stderr).encode()
        return done.stdout

    @property
    def stack_file(self) -> Path:
        return self.home / "harbor-aws" / "local" / "stack.json"

    def job(self, name: str, *, agents: list[dict[str, Any]], code: int = 0) -> None:
        """Run a job to its end, and fetch it."""
        config = {
            "job_name": name,
            "jobs_dir": str(self.directory / "jobs"),
            "agents": agents,
            "tasks": [{"path": str(self.directory / "singing")}],
        }
        file = self.directory / f"{name}.json"
        file.write_text(json.dumps(config))
        self.run("enqueue", "-c", str(file), "--attempts", "2", "--wait", code=code)

    def worker_log(self) -> bytes:
        return self._kubectl("logs", "-l", "app.kubernetes.io/name=harbor-aws-worker", "--tail=-1")

    def _kubectl(self, *arguments: str) -> bytes:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "-n", "harbor-aws", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout

    @property
    def kubeconfig(self) -> Path:
        return self.home / "harbor-aws" / "local" / "kubernetes" / "kubeconfig"

    @contextmanager
    def pods_watched(self) -> Iterator[Path]:
        """A file to which every state of every pod goes."""
        file = self.directory / "pods.json"
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "get", "pods", "-A", "--watch", "-o", "json"]
        with file.open("wb") as output, subprocess.Popen(command, stdout=output) as watch:
            try:
                yield file
            finally:
                watch.terminate()


@dataclass
class Seen:
    """Everything that was looked at, by place."""

    aviary: Aviary
    store: ObjectStore
    aws: Wire
    kubernetes: Wire
    processes: Processes
    pods: Path
    scrubbed: dict[str, set[str]] = field(default_factory=dict)
    """All places after the job ``scrubbed``."""

    def places(self, job: str) -> dict[str, set[str]]:
        """By place, the canaries that are in it; of bucket and fetched directory what is the job's."""
        objects = [row.key for row in self.store.list(f"jobs/{job}/")]
        fetched = sorted((self.aviary.directory / "jobs" / job).rglob("*"))
        haystacks = {
            "bucket": b"\n".join([*map(str.encode, objects), *map(self._unpacked, objects)]),
            "fetched": b"\n".join([*map(_told, fetched)]),
            "worker's log": self.aviary.worker_log(),
        }
        return {place: found_in(haystack, self.aviary.canaries) for place, haystack in haystacks.items()}

    def lasting_places(self) -> dict[str, set[str]]:
        """The same of what is nobody's job's."""
        kept = [path for path in self.aviary.home.rglob("*") if "secrets" not in path.parts and path.is_file()]
        haystacks = {
            "requests to AWS": b"\n".join(map(bytes, self.aws.said)),
            "requests to Kubernetes": b"\n".join(map(bytes, self.kubernetes.said)),
            "pods": self.pods.read_bytes(),
            "printed": self.aviary.printed,
            "state": b"\n".join(path.read_bytes() for path in kept),
        }
        return {place: found_in(haystack, self.aviary.canaries) for place, haystack in haystacks.items()}

    def _unpacked(self, key: str) -> bytes:
        body = self.store.get(key) or b""
        if not key.endswith(".tar.zst"):
            return body
        return zstandard.ZstdDecompressor().decompressobj().decompress(body)


def _told(path: Path) -> bytes:
    """Its path, where it leads, and what is in it."""
    if path.is_symlink():
        return os.fsencode(path) + os.fsencode(path.readlink())
    return os.fsencode(path) + (path.read_bytes() if path.is_file() else b"")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One run: job ``scrubbed``, then ``unscrubbed``, in which the worker has been made to forget its secrets."""
    if os.geteuid() != 0:
        pytest.skip("pods as processes need root")
    directory = tmp_path_factory.mktemp("aviary")
    make_task(directory, "singing", toml=TASK_TOML, files={"tests/test.sh": SINGING, "solution/solve.sh": SINGING})
    with tempfile.TemporaryDirectory(prefix="harbor-aws-canary-") as home, ExitStack() as things:
        aviary = Aviary(Path(home), hatch(), directory)
        things.callback(aviary.run, "local", "down")
        yield _sing(aviary, things)


def _sing(aviary: Aviary, things: ExitStack) -> Seen:
    aviary.run("local", "up", "--detach", "--workers", "0")
    stack = Stack.model_validate_json(aviary.stack_file.read_text())
    aws, kubernetes = _tap(aviary, stack, things)
    secret = json.dumps({"openai": aviary.canaries["MANAGED"]})
    secretsmanager_client(stack).create_secret(Name="local/models", SecretString=secret)
    aviary.run("secrets", "set", "STORED", stdin=aviary.canaries["STORED"] + "\n")
    aviary.run("secrets", "set", "MANAGED", "--secretsmanager", "local/models#openai")
    processes = Processes(aviary.canaries)
    seen = Seen(aviary, ObjectStore.of(stack), aws, kubernetes, processes, aviary.directory / "pods.json")
    leaking = {"import_path": IMPORT_PATH, "env": {"AGENT_TOKEN": "${AGENT_TOKEN}"}}
    with processes.watched(), aviary.pods_watched():
        aviary.run("scale", "1")
        breaking = {**leaking, "kwargs": {"breaking": True}}
        aviary.job("scrubbed", agents=[leaking, breaking, {"name": "oracle"}], code=1)
        in_clear = {**leaking, "kwargs": {"api_key": aviary.canaries["SHELL_API_KEY"]}}
        aviary.job(REFUSED, agents=[in_clear], code=2)
    seen.scrubbed = seen.places("scrubbed") | seen.lasting_places()
    aviary.job("unscrubbed", agents=[{**leaking, "kwargs": {"unscrubbed": True}}])
    return seen


def _tap(aviary: Aviary, stack: Stack, things: ExitStack) -> tuple[Wire, Wire]:
    """Let the worker that is to come go through proxies, to AWS and to Kubernetes."""
    assert stack.endpoint_url
    aws = urlsplit(stack.endpoint_url)
    kubeconfig = json.loads(aviary.kubeconfig.read_text())
    api = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    to_aws = Wire(str(aws.hostname), aws.port or 0)
    to_kubernetes = Wire(str(api.hostname), api.port or 0, trust)
    ports = [things.enter_context(wire.tapped()) for wire in (to_aws, to_kubernetes)]
    kubeconfig["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{ports[1]}"}
    tapped = aviary.stack_file.with_name("tapped-kubeconfig")
    tapped.write_text(json.dumps(kubeconfig))
    outputs = stack.model_dump_json().replace(f"{aws.netloc}", f"127.0.0.1:{ports[0]}")
    trials = stack.trials.model_copy(update={"kubeconfig": tapped})
    aviary.stack_file.write_text(
        Stack.model_validate_json(outputs).model_copy(update={"trials": trials}).model_dump_json()
    )
    return to_aws, to_kubernetes


def test_no_canary_is_found(seen: Seen) -> None:
    """Not in the bucket, what was fetched, logs, messages, requests, pods' specifications, nor what commands printed.

    But for a variable of the shell whose name does not tell that it is a secret: `local up` gives it to the workers'
    pods in clear.
    """
    nowhere: dict[str, set[str]] = {place: set() for place in seen.scrubbed}
    assert seen.scrubbed == {**nowhere, "pods": {"TASK_PLAIN"}}


def test_the_search_can_find_them(seen: Seen) -> None:
    """A worker that has forgotten what its secrets are leaves every one of them in its log, the bucket, and at home."""
    assert seen.places("unscrubbed") == {
        "bucket": set(NAMES),
        "fetched": set(NAMES),
        "worker's log": set(NAMES),
    }
    by_harbor = {"AGENT_TOKEN", "VERIFIER_TOKEN"}  # what Harbor itself takes out of result.json
    assert seen.lasting_places()["requests to AWS"] == set(NAMES) - by_harbor


def test_a_keyword_in_clear_goes_nowhere(seen: Seen) -> None:
    """A job with a secret as an agent's keyword is refused, by words that do not repeat it, and leaves nothing."""
    assert b"--ak api_key" in seen.aviary.printed
    assert "SHELL_API_KEY" not in seen.scrubbed["printed"]
    assert list(seen.store.list(f"jobs/{REFUSED}/")) == []


def test_names_stand_where_they_were(seen: Seen) -> None:
    """In results, exceptions, files, their names and links, and dead letters: it was there, and was taken out."""
    jobs = seen.aviary.directory / "jobs" / "scrubbed"
    (result,) = [json.loads(path.read_text()) for path in jobs.glob("singing*/result.json") if _is_leaking(path)]
    assert "[SHELL_API_KEY]" in result["exception_info"]["exception_message"]
    assert "[MANAGED]" in result["agent_result"]["metadata"]["in the result"]
    told = b"".join(_told(path) for path in jobs.rglob("*"))
    assert all(f"[{name}]".encode() in told for name in NAMES)
    assert {path.name for path in jobs.rglob("*.json")} >= {f"[{name}].json" for name in NAMES}
    sent = b"".join(map(bytes, seen.aws.said))
    assert sent.count(b"cut while saying [SHELL_API_KEY] ") >= 4  # two attempts' states, history, reason, traceback


def test_what_processes_show(seen: Seen) -> None:
    """No command line has a canary, and no environment but those of the commands that need it.

    Nor has that which the worker began with, or the first process of a pod, which everything in the pod can read.
    """
    assert seen.processes.looks > 10
    assert seen.processes.command_lines == set()
    meant = {name for name, _, is_meant in seen.processes.environments if is_meant}
    assert meant == set(NAMES)
    others = {(name, command) for name, command, is_meant in seen.processes.environments if not is_meant}
    workers = {name for name, command in others if b"harbor_aws.worker" in command}
    assert workers <= {"TASK_PLAIN"}
    in_trials = {name for name, command in others if b"harbor_aws.worker" not in command}
    given = {"AGENT_TOKEN", "TASK_SECRET", "TASK_PLAIN", "VERIFIER_TOKEN", "SOLUTION_PASSWORD"}
    assert in_trials <= given, others  # the agent's are Harbor's to add to each of the agent's commands


def _is_leaking(result: Path) -> bool:
    return bool(json.loads(result.read_text())["agent_info"]["name"] == "leaking")
