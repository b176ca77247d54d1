"""Which image an environment's pod has, and what becomes of one that cannot be pulled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from harbor.environments.definition import environment_content_hash
from harbor.models.task.config import EnvironmentConfig
from harbor.models.trial.paths import TrialPaths
from tests.unit.worker.fake_kubernetes import FakeKubernetes, serve

from harbor_aws.infra.errors import ImageMissingError, PullRateError
from harbor_aws.infra.settings import Settings
from harbor_aws.infra.stack import Stack
from harbor_aws.worker import image_pull
from harbor_aws.worker.attempt import Attempt, current_attempt
from harbor_aws.worker.environment import FargateEnvironment
from harbor_aws.worker.pods import PodKeeper

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
HUB = f"{REGISTRY}/team-hub"
GENEROUS_SECONDS = 30


class Starting:
    """An environment that is being started on a fake cluster, until its pod's container waits."""

    def __init__(
        self, directory: Path, *, docker_image: str | None, hub: str | None = HUB, start_seconds: float = 600
    ) -> None:
        self.kubernetes = FakeKubernetes()
        self._directory = directory
        self._docker_image = docker_image
        self._hub = hub
        self._settings = Settings(pod_start_timeout_seconds=start_seconds)
        (directory / "environment").mkdir()
        if docker_image is None:
            (directory / "environment" / "Dockerfile").write_text("FROM python:3.12")

    async def image(self, *waits: tuple[str, str]) -> str:
        """The pod's image; its container waits for these reasons, one after the other, and then runs no more.

        Raises:
            PodStartError: the start failed.
        """
        async with (
            serve(self.kubernetes, self._directory) as access,
            PodKeeper.open(access, worker="w") as keeper,
            asyncio.timeout(GENEROUS_SECONDS),
        ):
            stack = Stack(
                name="s",
                region="r",
                queue_url="-",
                dead_letter_queue_url="-",
                bucket="-",
                trials=access,
                image_repository=f"{REGISTRY}/team/environments",
                image_builder="codebuild",
                docker_hub_prefix=self._hub,
            )
            attempt = Attempt(
                stack=stack,
                settings=self._settings,
                pods=keeper,
                worker="w",
                job="j",
                trial="t",
                number=1,
                attempt_id="a",
            )
            starting = asyncio.create_task(self._environment(attempt).start(force_build=False))
            while not self.kubernetes.pods:
                await asyncio.sleep(0.01)
            ((name, pod),) = self.kubernetes.pods.items()
            for reason, message in waits:
                state = {"waiting": {"reason": reason, "message": message}}
                self.kubernetes.change(name, phase="Pending", containerStatuses=[{"state": state}])
                await asyncio.sleep(0.05)
            if waits:
                await starting
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return str(pod["spec"]["containers"][0]["image"])

    def _environment(self, attempt: Attempt) -> FargateEnvironment:
        token = current_attempt.set(attempt)
        try:
            return FargateEnvironment(
                environment_dir=self._directory / "environment",
                environment_name="task",
                session_id="t__env",
                trial_paths=TrialPaths(trial_dir=self._directory / "trial"),
                task_env_config=EnvironmentConfig(docker_image=self._docker_image),
            )
        finally:
            current_attempt.reset(token)


async def test_an_image_of_docker_hub_comes_through_the_cache(tmp_path: Path) -> None:
    """By the name that the cache has for it."""
    assert await Starting(tmp_path, docker_image="python:3.12").image() == f"{HUB}/library/python:3.12"


async def test_without_a_cache_an_image_is_as_the_task_names_it(tmp_path: Path) -> None:
    """Docker Hub itself is asked."""
    assert await Starting(tmp_path, docker_image="python:3.12", hub=None).image() == "python:3.12"


async def test_a_dockerfiles_image_is_the_one_that_enqueue_had_built(tmp_path: Path) -> None:
    """Of the stack's repository, by Harbor's own hash; the worker builds nothing."""
    starting = Starting(tmp_path, docker_image=None)
    expected = environment_content_hash(tmp_path / "environment")
    assert await starting.image() == f"{REGISTRY}/team/environments:{expected}"


async def test_an_image_that_is_not_there_ends_the_start_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before what may pass would, and says what builds it."""
    monkeypatch.setattr(image_pull, "PERMANENT_PATIENCE_SECONDS", 0.5)
    tag = "0123456789abcdef" * 2
    said = f'rpc error: code = NotFound desc = failed to pull and unpack image "{tag}": {tag}: not found'
    with pytest.raises(ImageMissingError, match="`harbor-aws enqueue` of the task does"):
        await Starting(tmp_path, docker_image=None).image(("ContainerCreating", ""), ("ErrImagePull", said))


async def test_what_the_back_off_hides_is_found_in_the_events(tmp_path: Path) -> None:
    """The kubelet's word for waiting says nothing of a registry's limit; its events do."""
    starting = Starting(tmp_path, docker_image="ghcr.io/a/b", start_seconds=1)
    starting.kubernetes.events = [{"reason": "Failed", "message": "toomanyrequests: retry-after: 985.86us"}]
    with pytest.raises(PullRateError, match="toomanyrequests"):
        await starting.image(("ImagePullBackOff", 'Back-off pulling image "ghcr.io/a/b"'))
