"""How a process outside of AWS reaches an EKS cluster."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from tests.unit.infra.test_cluster import tls_server
from tests.unit.worker.fake_kubernetes import refusal

from harbor_aws.infra import eks
from harbor_aws.infra.cluster import Cluster
from harbor_aws.infra.eks import TOKEN_SECONDS, EksToken, make_token
from harbor_aws.infra.errors import UsageError
from harbor_aws.infra.stack import EksCluster, KubernetesAccess

TEAM = EksCluster(name="team", region="eu-west-1", endpoint="https://localhost:9", certificate_authority="")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that were made, in place of AWS's, which are the same within a second."""
    made: list[str] = []

    def make(_: EksCluster) -> str:
        made.append(f"token-{len(made)}")
        return made[-1]

    monkeypatch.setattr(eks, "make_token", make)
    return made


def test_a_token() -> None:
    """A request to the region's STS whose signature covers the cluster's name, and holds for a minute."""
    token = make_token(TEAM)
    prefix, _, encoded = token.partition(".")
    assert prefix == "k8s-aws-v1"
    assert "=" not in encoded
    url = urlsplit(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode())
    query = parse_qs(url.query)
    assert (url.scheme, url.hostname) == ("https", "sts.eu-west-1.amazonaws.com")
    assert query["Action"] == ["GetCallerIdentity"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-k8s-aws-id"]
    assert query["X-Amz-Expires"] == ["60"]


def test_a_token_is_for_one_cluster() -> None:
    """Two clusters' tokens of one moment differ by their signatures."""
    assert make_token(TEAM) != make_token(TEAM.model_copy(update={"name": "other"}))


async def test_a_token_is_renewed_before_it_runs_out(tokens: list[str]) -> None:
    """And used until then."""
    now = [1000.0]
    token = EksToken(TEAM, clock=lambda: now[0])
    first = await token.current()
    now[0] += TOKEN_SECONDS - 1
    assert await token.current() == first
    now[0] += 1
    assert await token.current() == tokens[-1] != first
    assert TOKEN_SECONDS < 15 * 60


async def test_a_cluster_by_its_outputs_alone(tokens: list[str]) -> None:
    """Its certificate is checked by what EKS says; a token that is refused is replaced at once."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return refusal(401) if len(seen) == 1 else web.json_response({})

    async with tls_server(answer) as (url, authority):
        encoded = base64.b64encode(authority).decode()
        access = KubernetesAccess(eks=TEAM.model_copy(update={"endpoint": url, "certificate_authority": encoded}))
        async with Cluster.open(access) as cluster:
            await cluster.request("GET", "/version")
    assert seen == ["Bearer token-0", "Bearer token-1"]


async def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's to mend, and the cluster is named."""

    def fail(_: EksCluster) -> str:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(eks, "make_token", fail)
    with pytest.raises(UsageError, match=r"AWS's credentials \(team in eu-west-1\): Unable to locate"):
        async with Cluster.open(KubernetesAccess(eks=TEAM)):
            pass
