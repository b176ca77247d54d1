"""The door to Kubernetes, when the cluster refuses."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.worker.fake_kubernetes import PODS, FakeKubernetes, kubeconfig, refusal, serve

from harbor_aws.infra.cluster import AccessRefusedError, Cluster
from harbor_aws.infra.cluster_login import log_in
from harbor_aws.infra.errors import PermanentError, TransientError, UsageError
from harbor_aws.infra.local.kubernetes.api.certificate import ServerCertificate
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@asynccontextmanager
async def opened(directory: Path, answer: Callable[[Path], web.Response | None]) -> AsyncIterator[Cluster]:
    """A cluster whose server answers so; ``answer`` gets the kubeconfig, which it may renew."""
    kubernetes = FakeKubernetes()
    async with serve(kubernetes, directory) as access, Cluster.open(access) as cluster:
        assert access.kubeconfig is not None
        path = access.kubeconfig

        async def interfere(_word: str) -> web.Response | None:
            return answer(path)

        kubernetes.interfere = interfere
        yield cluster


async def use_websocket(cluster: Cluster) -> None:
    await cluster.open_websocket(f"{PODS}/p/exec", query=[("command", "x")], protocols=(), heartbeat_seconds=None)


async def use_request(cluster: Cluster) -> None:
    await cluster.request("GET", PODS)


async def use_watch(cluster: Cluster) -> None:
    async for _ in cluster.watch(PODS, resource_version="1"):
        pass


@pytest.mark.parametrize("use", [use_request, use_watch, use_websocket])
async def test_a_token_is_renewed_once(tmp_path: Path, use: Callable[[Cluster], Awaitable[None]]) -> None:
    """Where every new token is refused as well, a request is sent twice and then refused, rather than for ever."""
    asked = 0

    def answer(path: Path) -> web.Response:
        nonlocal asked
        asked += 1
        path.write_text(path.read_text().replace('"token": "t', '"token": "tt'))
        return refusal(401)

    async with opened(tmp_path, answer) as cluster:
        with pytest.raises(AccessRefusedError) as caught:
            await use(cluster)
    assert (asked, caught.value.status) == (2, 401)


async def test_a_renewed_token_is_used(tmp_path: Path) -> None:
    """A token that ran out is read anew, and the request goes through."""
    answers = [refusal(401), None]

    def answer(path: Path) -> web.Response | None:
        path.write_text(path.read_text().replace('"t"', '"new"'))
        return answers.pop(0)

    async with opened(tmp_path, answer) as cluster:
        await cluster.request("GET", PODS)
    assert answers == []


async def test_a_token_that_cannot_be_renewed_may_be_later(tmp_path: Path) -> None:
    """Once the cluster was opened, credentials that cannot be read are a failure that may pass."""

    def answer(path: Path) -> web.Response:
        path.write_text("{")
        return refusal(401)

    async with opened(tmp_path, answer) as cluster:
        with pytest.raises(TransientError, match="renewed"):
            await cluster.request("GET", PODS, patience_seconds=0)


async def test_a_kubeconfig_that_cannot_be_used_is_the_users(tmp_path: Path) -> None:
    """Before the cluster was opened, the same is the user's to mend."""
    path = kubeconfig(tmp_path, "http://localhost:9")
    path.write_text("{")
    with pytest.raises(UsageError):
        async with Cluster.open(KubernetesAccess(kubeconfig=path)):
            pass


async def test_a_quota_that_is_used_up_passes(tmp_path: Path) -> None:
    """A namespace that is full refuses by 403, as one that forbids; only the first may be tried again."""
    message = 'pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9'
    async with opened(tmp_path, lambda _: refusal(403, message)) as cluster:
        with pytest.raises(TransientError, match="exceeded quota"):
            await cluster.request("POST", PODS, body={}, patience_seconds=0)


async def test_a_quota_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    """Pods that are made at the same moment may be refused by 409, though their names are free."""
    message = 'Operation cannot be fulfilled on resourcequotas "trials": the object has been modified'
    answers = [refusal(409, message), refusal(409, message), None]
    async with opened(tmp_path, lambda _: answers.pop(0)) as cluster:
        await cluster.request("POST", PODS, body={"metadata": {"name": "p"}})
    assert answers == []


async def test_a_refusal_of_access_says_nothing_of_the_request(tmp_path: Path) -> None:
    """What this process may not do is neither a failure that passes nor one for good."""
    async with opened(tmp_path, lambda _: refusal(403, "no")) as cluster:
        with pytest.raises(AccessRefusedError) as caught:
            await cluster.request("POST", PODS, body={})
    assert not isinstance(caught.value, TransientError | PermanentError)


@pytest.mark.parametrize("with_key", [False, True])
async def test_no_certificate_stays_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_key: bool) -> None:
    """However the process ends, nothing of a kubeconfig is left behind: nothing is, while the cluster is in use.

    That holds for every time that the token is read anew, which goes on working.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    token = tmp_path / "token"
    token.write_text("old")
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({}) if seen[-1] != "Bearer old" else refusal(401)

    async with tls_server(answer) as (url, authority):
        access = KubernetesAccess(kubeconfig=tls_kubeconfig(tmp_path, url, authority, token=token, with_key=with_key))
        async with Cluster.open(access) as cluster:
            assert list(temporary.iterdir()) == []
            token.write_text("new")
            await cluster.request("GET", PODS)
            assert list(temporary.iterdir()) == []
    assert seen == ["Bearer old", "Bearer new"]


async def test_many_log_in_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one loop and in others, each with the same certificates: nobody's files are removed by another's end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (tmp_path / "token").write_text("t")
    certificate = ServerCertificate.make("127.0.0.1").pem
    path = tls_kubeconfig(tmp_path, "https://localhost:9", certificate, token=tmp_path / "token", with_key=True)
    access = KubernetesAccess(kubeconfig=path)

    async def several() -> None:
        await asyncio.gather(*(log_in(access) for _ in range(4)))

    await asyncio.gather(several(), *(asyncio.to_thread(asyncio.run, several()) for _ in range(2)))
    assert list(temporary.iterdir()) == []


async def test_a_wrong_authority_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is none is said as what it is, and leaves nothing either."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    path = tls_kubeconfig(tmp_path, "https://localhost:9", b"no certificate", token=tmp_path / "token", with_key=False)
    (tmp_path / "token").write_text("t")
    with pytest.raises(UsageError, match="cannot be reached by"):
        async with Cluster.open(KubernetesAccess(kubeconfig=path)):
            pass
    assert list(temporary.iterdir()) == []


@asynccontextmanager
async def tls_server(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[tuple[str, bytes]]:
    """A server with TLS on loopback: its address, and the certificate to trust."""
    certificate = ServerCertificate.make("127.0.0.1")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=certificate.context)
    try:
        yield str(server.make_url("")).rstrip("/"), certificate.pem
    finally:
        await server.close()


def tls_kubeconfig(directory: Path, url: str, authority: bytes, *, token: Path, with_key: bool) -> Path:
    """A kubeconfig that has its certificates within, and whose plugin says what ``token`` holds.

    Args:
        with_key: whether it has a client's certificate and key as well.
    """
    program = (
        "import json, pathlib, sys; "
        "status = {'token': pathlib.Path(sys.argv[1]).read_text()}; "
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', "
        "'status': status}))"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", program, str(token)],
    }
    path = kubeconfig(directory, url)
    content = json.loads(path.read_text())
    content["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(authority).decode()
    content["users"][0]["user"] = {"exec": plugin, **(client_certificate() if with_key else {})}
    path.write_text(json.dumps(content))
    return path


def client_certificate() -> dict[str, str]:
    """A client's self-signed certificate and its key, as a kubeconfig has them."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "client-certificate-data": base64.b64encode(certificate.public_bytes(serialization.Encoding.PEM)).decode(),
        "client-key-data": base64.b64encode(private).decode(),
    }
