"""The door to Kubernetes, when the cluster refuses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.unit.worker.fake_kubernetes import PODS, FakeKubernetes, kubeconfig, refusal, serve

from harbor_aws.infra.cluster import AccessRefusedError, Cluster
from harbor_aws.infra.errors import PermanentError, TransientError, UsageError
from harbor_aws.infra.stack import KubernetesAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web


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


async def test_a_refusal_of_access_says_nothing_of_the_request(tmp_path: Path) -> None:
    """What this process may not do is neither a failure that passes nor one for good."""
    async with opened(tmp_path, lambda _: refusal(403, "no")) as cluster:
        with pytest.raises(AccessRefusedError) as caught:
            await cluster.request("POST", PODS, body={})
    assert not isinstance(caught.value, TransientError | PermanentError)
