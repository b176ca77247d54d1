"""Where secrets are kept, and what they refer to."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aiohttp import web
from tests.integration.moto_stack import REGION, moto_server
from tests.unit.worker.fake_kubernetes import kubeconfig

from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.secrets.files import DirectorySecrets, read_secrets, replace_secrets
from harbor_aws.infra.secrets.kubernetes import SECRETS, KubernetesSecrets
from harbor_aws.infra.secrets.manager import SecretsManager, SecretUnavailableError
from harbor_aws.infra.secrets.names import NAME_CHARACTERS, RESERVED, check_name, check_value
from harbor_aws.infra.secrets.reference import SecretReference
from harbor_aws.infra.stack import KubernetesAccess, Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

VALUE = "sk-0123456789abcdef"
SECRET = f"/api/v1/namespaces/harbor-aws/secrets/{SECRETS}"


@pytest.mark.parametrize("name", ["", "A B", "A-B", "1A", f"KEY={VALUE}", "A" * (NAME_CHARACTERS + 1), "HOME"])
def test_what_is_no_name(name: str) -> None:
    """It is refused, without the value that may have been in it."""
    with pytest.raises(UsageError) as refused:
        check_name(name)
    assert VALUE not in str(refused.value)


def test_names_and_values() -> None:
    """What a variable can be called and hold is let through; what it cannot hold is not."""
    check_name("_KEY_" + "x" * (NAME_CHARACTERS - 5))
    check_value("several\nlines")
    for value in ("", "a\0b", "x" * 65_537):
        with pytest.raises(UsageError):
            check_value(value)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("secretsmanager:team/models", SecretReference("team/models")),
        ("secretsmanager:team/models#openai\n", SecretReference("team/models", "openai")),
        (
            "secretsmanager:arn:aws:secretsmanager:eu-west-1:1:secret:x-AbCdEf#a#b",
            SecretReference("arn:aws:secretsmanager:eu-west-1:1:secret:x-AbCdEf", "a#b"),
        ),
        ("sk-secretsmanager:x", None),
    ],
)
def test_references(text: str, reference: SecretReference | None) -> None:
    """A name or an ARN, and perhaps a key; they are written as they are read."""
    assert SecretReference.found_in(text) == reference
    if reference:
        assert str(reference) == text.strip()


@pytest.mark.parametrize("text", ["secretsmanager:", "secretsmanager:#key", "secretsmanager:name#"])
def test_half_references(text: str) -> None:
    """One without a name, or with an empty key, is refused."""
    with pytest.raises(UsageError):
        SecretReference.found_in(text)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with a Secrets Manager that has three secrets."""
    with moto_server() as url:
        client = boto3.client(
            "secretsmanager", region_name=REGION, endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="x"
        )
        client.create_secret(Name="team/plain", SecretString=VALUE)
        client.create_secret(Name="team/json", SecretString=f'{{"openai": "{VALUE}-1", "number": 5}}')
        client.create_secret(Name="team/binary", SecretBinary=b"\0\1")
        yield Stack(name="team", region=REGION, queue_url="", dead_letter_queue_url="", bucket="", endpoint_url=url)


def test_what_references_mean(stack: Stack) -> None:
    """The whole text, or the value of a key; each secret is asked for once."""
    manager = SecretsManager(stack)
    assert manager.read(SecretReference("team/plain")) == VALUE
    assert manager.read(SecretReference("team/json", "openai")) == f"{VALUE}-1"
    asked: list[str] = []
    manager._client.meta.events.register("before-call", lambda **about: asked.append(about["model"].name))
    assert manager.read(SecretReference("team/json")) == f'{{"openai": "{VALUE}-1", "number": 5}}'
    assert asked == []


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (SecretReference("team/none"), "ResourceNotFoundException .*make it in the stack's region"),
        (SecretReference("team/binary"), "holds no text"),
        (SecretReference("team/plain", "key"), "is no JSON object"),
        (SecretReference("team/json", "none"), "no text under 'none'"),
        (SecretReference("team/json", "number"), "no text under 'number'"),
    ],
)
def test_what_cannot_be_read(stack: Stack, reference: SecretReference, said: str) -> None:
    """The error says which secret, why, and what to do; no value, and none in what caused it."""
    with pytest.raises(SecretUnavailableError, match=said) as refused:
        SecretsManager(stack).read(reference)
    assert VALUE not in f"{refused.value} {refused.value.__cause__} {refused.value.__context__}"


async def test_a_directory_of_secrets(tmp_path: Path) -> None:
    """Each is a file for its owner alone; what is listed has names and ages."""
    directory = tmp_path / "secrets"
    secrets = DirectorySecrets(directory)
    assert await secrets.list() == []
    await secrets.set("B_KEY", "old")
    await secrets.set("B_KEY", VALUE)
    await secrets.set("A_KEY", "ä\n")
    assert read_secrets(directory) == {"A_KEY": "ä\n", "B_KEY": VALUE}
    listed = await secrets.list()
    assert [each.name for each in listed] == ["A_KEY", "B_KEY"]
    assert all(each.since and abs((datetime.now(UTC) - each.since).total_seconds()) < 60 for each in listed)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "B_KEY").stat().st_mode) == 0o600
    assert await secrets.remove("B_KEY")
    assert not await secrets.remove("B_KEY")
    assert read_secrets(directory) == {"A_KEY": "ä\n"}


def test_files_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    """Links to a hidden directory; names that no variable can have, and the stack's own, are left alone."""
    data = tmp_path / "..2026"
    data.mkdir()
    for name in ("KEY", "tls.crt", "HARBOR_AWS_STACK"):
        (data / name).write_text(VALUE)
        (tmp_path / name).symlink_to(f"..data/{name}")
    (tmp_path / "..data").symlink_to("..2026")
    assert read_secrets(tmp_path) == {"KEY": VALUE}
    assert read_secrets(tmp_path / "none") == {}


def test_a_file_that_no_variable_can_hold(tmp_path: Path) -> None:
    """Its name is told, and nothing of what is in it; bytes that are no text a variable has as they are."""
    (tmp_path / "KEY").write_bytes(b"\xff" + VALUE.encode())
    assert os.fsencode(read_secrets(tmp_path)["KEY"]) == b"\xff" + VALUE.encode()
    (tmp_path / "KEY").write_bytes(b"\0" + VALUE.encode())
    with pytest.raises(UsageError, match="KEY holds a NUL") as refused:
        read_secrets(tmp_path)
    assert VALUE not in str(refused.value)


def test_a_directory_that_is_replaced(tmp_path: Path) -> None:
    """It holds what it is told and nothing else; the sign changes when, and only when, that does."""
    directory = tmp_path / "shell"
    first = replace_secrets(directory, {"A": VALUE, "HOME": "x"})
    assert replace_secrets(directory, {"A": VALUE}) == first
    assert replace_secrets(directory, {"B": VALUE}) != first
    assert read_secrets(directory) == {"B": VALUE}


def test_a_directory_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    """Whatever is in it, and what it had from a shell whose variables are no text is there to stay."""
    (tmp_path / "A").write_bytes(b"\0")
    shell = {"A": b"\xff-key".decode(errors="surrogateescape")}
    first = replace_secrets(tmp_path, shell)
    assert read_secrets(tmp_path) == shell
    assert replace_secrets(tmp_path, shell) == first


def test_a_worker_that_begins_while_its_secrets_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It always finds every secret, the old or the new one."""
    seen: list[dict[str, str]] = []
    replace_secrets(tmp_path, {"A": "old", "B": "old"})

    def looking(operation: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*args: Any, **kwargs: Any) -> Any:
            seen.append(read_secrets(tmp_path))
            return operation(*args, **kwargs)

        return looked

    for operation in ("mkdir", "open", "replace", "unlink", "rename", "utime"):
        monkeypatch.setattr(os, operation, looking(getattr(os, operation)))
    replace_secrets(tmp_path, {"A": "new", "B": "new"})
    assert {"A": "new", "B": "old"} in seen
    assert all(each.keys() == {"A", "B"} for each in seen)


class SecretsApi:
    """Kubernetes' side of one Secret.

    Attributes:
        there: the Secret, if there is one.
        asked: method and URL of every request.
        racing: a Secret that somebody else makes just before the first POST.
    """

    def __init__(self) -> None:
        self.there: dict[str, Any] | None = None
        self.asked: list[str] = []
        self.racing: dict[str, Any] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path_qs}")
        if request.method == "POST":
            self.there, self.racing = self.there or self.racing, None
            if self.there:
                return web.json_response({"message": "there"}, status=409)
            self.there = await request.json()
        elif request.path != SECRET or self.there is None:
            return web.json_response({"message": "none"}, status=404)
        elif request.method == "PATCH":
            assert request.content_type == "application/merge-patch+json"
            self.there = merged(self.there, json.loads(await request.text()))
        return web.json_response(self.there)

    @property
    def values(self) -> dict[str, str]:
        return {name: base64.b64decode(value).decode() for name, value in (self.there or {})["data"].items()}


def merged(value: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    kept = value if isinstance(value, dict) else {}
    changed = {key: merged(kept.get(key), below) for key, below in patch.items() if below is not None}
    return {key: below for key, below in kept.items() if key not in patch} | changed


@pytest.fixture
async def kubernetes(tmp_path: Path) -> AsyncIterator[tuple[KubernetesSecrets, SecretsApi]]:
    api, app = SecretsApi(), web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = kubeconfig(tmp_path, f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with Cluster.open(KubernetesAccess(kubeconfig=config)) as cluster:
            yield KubernetesSecrets(cluster), api
    finally:
        await runner.cleanup()


async def test_a_secret_in_kubernetes(kubernetes: tuple[KubernetesSecrets, SecretsApi]) -> None:
    """The Secret is made when it is needed; entries are set and removed one by one, with their dates."""
    secrets, api = kubernetes
    assert await secrets.list() == []
    assert not await secrets.remove("KEY")
    await secrets.set("KEY", VALUE)
    await secrets.set("OTHER", "x")
    assert api.values == {"KEY": VALUE, "OTHER": "x"}
    listed = await secrets.list()
    assert [each.name for each in listed] == ["KEY", "OTHER"]
    assert all(each.since for each in listed)
    assert await secrets.remove("KEY")
    assert api.values == {"OTHER": "x"}
    assert list((api.there or {})["metadata"]["annotations"]) == ["secrets.harbor-aws/set.OTHER.at"]
    assert VALUE not in str(api.asked)


async def test_two_people_set_secrets(kubernetes: tuple[KubernetesSecrets, SecretsApi]) -> None:
    """At the same time, also when neither finds the Secret there: both entries are in it, and what kubectl made."""
    secrets, api = kubernetes
    api.racing = {"metadata": {"name": SECRETS}, "data": {"BY_KUBECTL": base64.b64encode(b"k").decode()}}
    await asyncio.gather(secrets.set("MINE", "m"), secrets.set("YOURS", "y"))
    assert api.values == {"BY_KUBECTL": "k", "MINE": "m", "YOURS": "y"}
    assert {each.name: each.since is None for each in await secrets.list()} == {
        "BY_KUBECTL": True, "MINE": False, "YOURS": False,
    }  # fmt: skip


def test_reserved_names_are_those_of_the_deployment() -> None:
    """What the workers' Deployment sets no secret changes; a secret of that name would otherwise win."""
    from tests.unit.infra.deploy.test_manifests import made  # it reads the template

    (container,) = made()["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {each["name"] for each in container["env"]} <= RESERVED
