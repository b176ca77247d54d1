"""Pods of processes that die, removed by another's reaper."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from harbor_aws.infra.labels import pods_selector
from harbor_aws.infra.presence import leases_path
from harbor_aws.infra.stack import Stack
from harbor_aws.producer.ownerless import ownerless_pods
from harbor_aws.worker.pods import PodKeeper
from harbor_aws.worker.presence import PresenceTerms, keep_presence
from harbor_aws.worker.reaper import reaping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harbor_aws.infra.cluster import Cluster
    from harbor_aws.infra.stack import KubernetesAccess

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

IMAGE = "busybox:latest"
TERMS = PresenceTerms(interval_seconds=1.0, duration_seconds=8.0)
GENEROUS_SECONDS = 90


@asynccontextmanager
async def pod_maker(access: KubernetesAccess, stack: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process with a pod; and the pod's name."""
    arguments = [access.model_dump_json(), json.dumps(asdict(TERMS)), stack, IMAGE]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kubernetes.pod_maker", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(GENEROUS_SECONDS):
            name = (await process.stdout.readline()).decode().strip()
        assert name
        yield process, name
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def reaper(access: KubernetesAccess, stack: str) -> AsyncIterator[Cluster]:
    """A worker without trials, which reaps."""
    async with (
        PodKeeper.open(access, worker="reaper") as pods,
        keep_presence(pods.cluster, stack=stack, worker="reaper", terms=TERMS),
        reaping(pods, stack=stack, terms=TERMS),
    ):
        yield pods.cluster


async def pod_names(cluster: Cluster, stack: str) -> set[str]:
    answer = await cluster.list_pods(selector=pods_selector(stack))
    return {item["metadata"]["name"] for item in answer["items"]}


async def owners(cluster: Cluster, stack: str) -> set[str]:
    answer = await cluster.request("GET", leases_path(cluster.namespace))
    labels = [item["metadata"]["labels"] for item in answer["items"]]
    return {each["harbor-aws/worker"] for each in labels if each["harbor-aws/stack"] == stack}


def stack_of(access: KubernetesAccess, name: str) -> Stack:
    return Stack(name=name, region="x", queue_url="x", dead_letter_queue_url="x", bucket="x", trials=access)


async def test_a_killed_process_leaves_no_pod(access: KubernetesAccess, caplog: pytest.LogCaptureFixture) -> None:
    """Not while it lives, however long; then another worker removes it, and its Lease."""
    stack = f"s-{uuid.uuid4().hex[:6]}"
    async with reaper(access, stack) as cluster, pod_maker(access, stack) as (process, pod):
        await asyncio.sleep(2 * TERMS.duration_seconds)
        assert await pod_names(cluster, stack) == {pod}
        assert await ownerless_pods(stack_of(access, stack)) == []
        process.kill()
        killed_at = time.monotonic()
        async with asyncio.timeout(GENEROUS_SECONDS):
            while await pod_names(cluster, stack) or await owners(cluster, stack) != {"reaper"}:
                await asyncio.sleep(0.2)
        assert time.monotonic() - killed_at > TERMS.duration_seconds - TERMS.interval_seconds
    assert f"Removed pod {pod} of trial t of job j: its owner" in caplog.text


async def test_a_frozen_process_finds_its_pod_again(access: KubernetesAccess) -> None:
    """Stopped for most of what its sign of life lasts, again and again."""
    stack = f"s-{uuid.uuid4().hex[:6]}"
    async with reaper(access, stack) as cluster, pod_maker(access, stack) as (process, pod):
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(TERMS.duration_seconds - 4 * TERMS.interval_seconds)
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(2 * TERMS.interval_seconds)
        assert await pod_names(cluster, stack) == {pod}
        process.kill()


async def test_another_stacks_pods_are_not_seen(access: KubernetesAccess) -> None:
    """In the same namespace, and ownerless, which `status` shows."""
    stack, other = f"s-{uuid.uuid4().hex[:6]}", f"s-{uuid.uuid4().hex[:6]}"
    async with reaper(access, stack) as cluster:
        async with pod_maker(access, other) as (process, pod):
            process.kill()
        await asyncio.sleep(2 * TERMS.duration_seconds)
        assert await pod_names(cluster, other) == {pod}
        assert await ownerless_pods(stack_of(access, other)) == [pod]
        await cluster.request("DELETE", f"{cluster.pods_path}/{pod}")
