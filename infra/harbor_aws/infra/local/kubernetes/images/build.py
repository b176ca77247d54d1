"""Builds images from Dockerfiles, once each: what the instructions write becomes layers that pods start from."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.infra.errors import TransientError
from harbor_aws.infra.local.kubernetes.images.build_context import receive_context, unpack_context
from harbor_aws.infra.local.kubernetes.images.build_plan import SCRATCH, plan_build
from harbor_aws.infra.local.kubernetes.images.build_stage import BuildWork, StageBuild
from harbor_aws.infra.local.kubernetes.images.dockerfile import parse_dockerfile
from harbor_aws.infra.local.kubernetes.images.store import Image, ImageConfig, normalized
from harbor_aws.infra.local.kubernetes.pods.container_log import ContainerLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harbor_aws.infra.local.kubernetes.images.build_steps import StagePlan
    from harbor_aws.infra.local.kubernetes.pods.machine import Machine


@dataclass(eq=False)
class _Running:
    """A build that runs, and who reads its log."""

    task: asyncio.Task[None]
    log: ContainerLog
    readers: int = 0

    async def follow(self) -> AsyncIterator[bytes]:
        """The log, and then what the build raises; the last reader removes the log."""
        self.readers += 1
        try:
            async for chunk in self.log.read(follow=True, tail_lines=None, limit_bytes=None):
                yield chunk
            await asyncio.shield(self.task)
        finally:
            self.readers -= 1
            if self.task.done():
                self.finish()

    def finish(self) -> None:
        if not self.readers:
            self.log.remove()


class Builder:
    """All builds of one runtime."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: dict[str, _Running] = {}
        self._works: set[BuildWork] = set()

    async def build(self, image: str, context_tar: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Build ``image`` unless it exists; a second build of one image waits for the first.

        Returns:
            The log. Its end raises what the build raises.

        Raises:
            PermanentError: an instruction failed, or the Dockerfile asks for what the builder does not do.
        """
        if self._machine.images.find_built(image) is not None:
            return _line(f"{image} is built already.\n")
        key = normalized(image)
        if key not in self._running:
            directory = self._machine.directory / "builds" / uuid.uuid4().hex
            directory.mkdir(parents=True)
            log = ContainerLog(directory.with_suffix(".log"))
            work = BuildWork(self._machine, directory, log, log.open())
            task = asyncio.create_task(self._build(image, context_tar, work), name=f"build {image}")
            self._running[key] = _Running(task, log)
            task.add_done_callback(lambda done: self._forget(key, done))
        return self._running[key].follow()

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        self._running.pop(key).finish()
        if not task.cancelled():
            task.exception()  # whoever asked for the build may be gone

    async def close(self) -> None:
        """Stop every build; nothing is left of it."""
        for work in self._works:
            await work.stop()
        await asyncio.gather(*(one.task for one in list(self._running.values())), return_exceptions=True)

    async def _build(self, image: str, context_tar: AsyncIterator[bytes], work: BuildWork) -> None:
        self._works.add(work)
        try:
            await self._receive(context_tar, work.archive)
            text = await asyncio.to_thread(unpack_context, work.archive, work.context)
            plans = await asyncio.to_thread(plan_build, parse_dockerfile(text), self._configuration)
            built = await self._build_stages(plans, work)
            self._machine.images.keep(Image(image, built.base, built.layers, built.config), work.layers)
            work.log.write(f"Built {image}.\n".encode())
        finally:
            self._works.discard(work)
            os.close(work.output)
            work.log.drain()
            await asyncio.to_thread(shutil.rmtree, work.directory, ignore_errors=True)

    async def _receive(self, context_tar: AsyncIterator[bytes], archive: Path) -> None:
        try:
            await receive_context(context_tar, archive)
        except OSError as error:
            raise TransientError(f"The build context did not arrive whole: {error}") from error

    async def _build_stages(self, plans: list[StagePlan], work: BuildWork) -> Image:
        stages: dict[int, Image] = {}
        for plan in plans:
            base = stages[plan.base] if isinstance(plan.base, int) else await asyncio.to_thread(self._base, plan.base)
            stages[plan.number] = await StageBuild(work, plan, base, stages).run()
        return stages[plans[-1].number]

    def _base(self, name: str) -> Image:
        images = self._machine.images
        return Image(SCRATCH, images.empty()) if name == SCRATCH else images.find(name)

    def _configuration(self, name: str) -> ImageConfig:
        return self._machine.images.find(name).config


async def _line(text: str) -> AsyncIterator[bytes]:
    yield text.encode()
