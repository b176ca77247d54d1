"""`harbor-aws secrets`: values go in and are never said again."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.infra.deploy.fake_api import FakeApi, fake_api_in_a_thread

from harbor_aws.infra.secrets.files import read_secrets
from harbor_aws.infra.secrets.kubernetes import SECRETS
from harbor_aws.infra.stack import WORKER_DEPLOYMENT, Stack, stack_file
from harbor_aws.producer.cli.app import load_command
from harbor_aws.producer.cli.errors import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harbor_aws.infra.stack import KubernetesAccess

VALUE = "sk-0123456789abcdef"
SECRET = f"/api/v1/namespaces/harbor-aws/secrets/{SECRETS}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/harbor-aws/deployments/{WORKER_DEPLOYMENT}"


class Bench:
    """A deployed stack called ``team`` and the local one, on a cluster in a thread of its own; two workers run."""

    def __init__(self, access: KubernetesAccess, api: FakeApi, patch: pytest.MonkeyPatch, capfd: Any) -> None:
        self.api = api
        self._patch = patch
        self._capfd = capfd
        for name in ("team", "local"):
            stack = Stack(
                name=name, region="r", queue_url="-", dead_letter_queue_url="-", bucket="-", trials=access,
                workers=access,
            )  # fmt: skip
            stack_file(name).parent.mkdir(parents=True)
            stack_file(name).write_text(stack.model_dump_json())
        api.put(SECRET, {"metadata": {"name": SECRETS}, "data": {"BY_KUBECTL": "a2V5"}})
        api.put(DEPLOYMENT, {"metadata": {}, "spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": 2}})

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0, stack: str = "team") -> str:
        """What it printed; never the value."""
        self._patch.setenv("HARBOR_AWS_STACK", stack)
        self._patch.setattr("sys.argv", ["secrets", *arguments])
        self._patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            run(lambda: load_command("secrets"), name="secrets")
        out, err = self._capfd.readouterr()
        assert (ended.value.code or 0) == code, out + err
        assert VALUE not in out + err
        return str(out + err)

    @property
    def kept(self) -> dict[str, str]:
        data = self.api.objects[SECRET]["data"]
        return {name: base64.b64decode(value).decode() for name, value in data.items()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    with fake_api_in_a_thread(tmp_path) as (access, api):
        yield Bench(access, api, monkeypatch, capfd)


def test_the_ways_of_a_value(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From stdin, this shell or a file, less one end of line; a reference is kept as such. What was there stays."""
    (tmp_path / "key").write_text(f"{VALUE}\r\n")
    monkeypatch.setenv("OF_SHELL", VALUE)
    bench("set", "OF_STDIN", stdin=f"{VALUE}\n\n")
    bench("set", "OF_SHELL", "--from-env")
    bench("set", "OF_FILE", "--from-file", str(tmp_path / "key"))
    bench("set", "OF_MANAGER", "--secretsmanager", "team/models#openai")
    assert bench.kept == {
        "BY_KUBECTL": "key",
        "OF_STDIN": f"{VALUE}\n",
        "OF_SHELL": VALUE,
        "OF_FILE": VALUE,
        "OF_MANAGER": "secretsmanager:team/models#openai",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "KEY", VALUE),
        ("set", f"KEY={VALUE}"),
        ("set", "HOME"),
        ("set", "KEY"),
        ("set", "KEY", "--from-env"),
        ("set", "KEY", "--from-env", "--secretsmanager", "x"),
        ("set", "KEY", "--secretsmanager", "x#"),
        ("remove", "KEY"),
        ("remove", f"KEY={VALUE}"),
    ],
)
def test_what_is_refused(bench: Bench, arguments: tuple[str, ...]) -> None:
    """A value in the command line, which is not repeated; a bad name, no value, two places, half a reference."""
    assert bench(*arguments, code=2).startswith("Error: ")
    assert bench.kept == {"BY_KUBECTL": "key"}


def test_listing(bench: Bench) -> None:
    """Names and ages."""
    bench("set", "KEY", stdin=VALUE)
    assert [each["name"] for each in json.loads(bench("list", "--json"))["secrets"]] == ["BY_KUBECTL", "KEY"]
    table = bench("list")
    assert "0s ago" in table or "s ago" in table
    bench("remove", "KEY")
    assert "KEY " not in bench("list").replace("BY_KUBECTL", "")


def test_running_workers(bench: Bench) -> None:
    """They go on unless --restart is said, by which their pods are made anew."""
    assert "2 running ones go on as they are" in bench("set", "KEY", stdin=VALUE)
    assert "template" not in bench.api.objects[DEPLOYMENT]["spec"]
    assert "being replaced" in bench("remove", "KEY", "--restart")
    template = bench.api.objects[DEPLOYMENT]["spec"]["template"]
    assert list(template["metadata"]["annotations"]) == ["harbor-aws/restarted-at"]


def test_warnings(bench: Bench) -> None:
    """Of a value that is too short to be found in logs, and of a secret that workers may not read by themselves."""
    assert "less than 8 characters" in bench("set", "KEY", stdin="abc")
    assert "Workers may read what is called team/…" in bench("set", "KEY", "--secretsmanager", "other/models")
    assert "Workers may read" not in bench(
        "set", "KEY", "--secretsmanager", "arn:aws:secretsmanager:eu-west-1:1:secret:team/models-AbCdEf"
    )


def test_the_local_stack(bench: Bench) -> None:
    """Its secrets are files of its own directory, for its Kubernetes has no Secrets."""
    bench("set", "KEY", stdin=VALUE, stack="local")
    assert read_secrets(stack_file("local").parent / "secrets" / "set") == {"KEY": VALUE}
    assert bench.kept == {"BY_KUBECTL": "key"}
    assert "KEY" in bench("list", stack="local")
    bench("remove", "KEY", stack="local")
    assert bench("list", stack="local").strip() == "There are none."
