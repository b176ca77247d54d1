"""Runs the steps of one stage: each in containers of its own, on the layer that the stage is building."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harbor_aws.infra.errors import PermanentError, TransientError
from harbor_aws.infra.local.kubernetes.images.build_steps import CopyStep, DirectoryStep, RunStep
from harbor_aws.infra.local.kubernetes.images.store import Image, layer_part
from harbor_aws.infra.local.kubernetes.pods.namespaces import StartFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from harbor_aws.infra.local.kubernetes.images.build_steps import StagePlan, Step
    from harbor_aws.infra.local.kubernetes.pods.container_log import ContainerLog
    from harbor_aws.infra.local.kubernetes.pods.machine import Machine
    from harbor_aws.infra.local.kubernetes.pods.mounts import BindSpec, RootSpec
    from harbor_aws.infra.local.kubernetes.pods.namespaces import Process
    from harbor_aws.infra.local.kubernetes.pods.program import ProgramSpec

_HOSTNAME = "build"
_TAIL_LINES = 20
"""How much of a failed instruction's output its error repeats."""
_SCRIPT = "/.harbor-aws-script"


@dataclass(eq=False)
class BuildWork:
    """What the stages of one build share."""

    machine: Machine
    directory: Path
    """Everything of the build, removed at its end but for the layers."""
    log: ContainerLog
    output: int
    """Descriptor that programs print to: the log's."""
    containers: set[Process] = field(default_factory=set)
    stopped: bool = False
    steps: int = 0

    @property
    def layers(self) -> Path:
        return self.directory / "layers"

    @property
    def archive(self) -> Path:
        return self.directory / "context.tar"

    @property
    def context(self) -> Path:
        return self.directory / "context"

    async def stop(self) -> None:
        """Kill what runs; the build fails."""
        self.stopped = True
        for container in self.containers:
            await self.machine.namespaces.signal(container, signal.SIGKILL)

    @asynccontextmanager
    async def container(
        self, image: Image, *, program: ProgramSpec | None = None, layer: Path | None = None, **options: Any
    ) -> AsyncIterator[Process]:
        """A container on an image, writing to ``layer`` (or to memory), gone with the block."""
        if self.stopped:
            raise TransientError("The embedded Kubernetes was stopped during the build.")
        self.steps += 1
        work = self.directory / "work" / str(self.steps) if layer else None
        root = self.machine.root(image, hostname=_HOSTNAME, upper=layer, work=work, **options)
        _make_directories(root)
        process = await self.machine.namespaces.start(
            root=root, hostname=_HOSTNAME, program=program, output=self.output, cgroup=None
        )
        self.containers.add(process)
        if self.stopped:  # while it started
            await self.machine.namespaces.signal(process, signal.SIGKILL)
        try:
            yield process
        finally:
            await self.machine.namespaces.signal(process, signal.SIGKILL)
            await process.wait()
            self.containers.discard(process)


class StageBuild:
    """One stage in the making."""

    def __init__(self, work: BuildWork, plan: StagePlan, base: Image, stages: Mapping[int, Image]) -> None:
        self._work = work
        self._plan = plan
        self._base = base
        self._stages = stages
        self._layer = work.layers / str(plan.number)

    async def run(self) -> Image:
        """Run every step.

        Returns:
            The base with the new layer.

        Raises:
            PermanentError: a step failed; the message names it.
        """
        self._layer.mkdir(parents=True)
        for step in self._plan.steps:
            self._work.log.write(f"Dockerfile line {step.instruction.line}: {step.instruction.text}\n".encode())
            try:
                await self._run_step(step)
            except StartFailedError as error:
                raise _failure(step, str(error)) from error
        for part in self._layer.iterdir():
            if not any(part.iterdir()):
                part.rmdir()  # nothing was written to this file system
        return Image(self._base.name, self._base.base, (self._layer, *self._base.layers), self._plan.config)

    async def _run_step(self, step: Step) -> None:
        if isinstance(step, RunStep):
            await self._execute(step)
        elif isinstance(step, CopyStep):
            await self._copy(step)
        else:
            await self._make_directory(step)

    async def _execute(self, step: RunStep) -> None:
        binds: list[BindSpec] = []
        if step.script is not None:
            script = self._work.directory / "script"
            script.write_text(step.script)
            script.chmod(0o755)
            binds = [{"source": str(script), "target": _SCRIPT, "read_only": True}]
        program: ProgramSpec = {
            "args": step.args if step.script is None else [_SCRIPT],
            "env": step.env,
            "cwd": step.cwd,
            "user": step.user,
            "groups": [],
            "no_new_privileges": False,
        }
        async with self._work.container(
            self._base, program=program, layer=self._layer, binds=binds, memory=list(step.memory)
        ) as container:
            code = await container.wait()
        if step.script is not None:
            (layer_part(self._layer, "/") / _SCRIPT.lstrip("/")).unlink(missing_ok=True)
        if code:
            raise _failure(step, f"exit code {code}\n{self._work.log.tail(_TAIL_LINES)}".strip())

    async def _make_directory(self, step: DirectoryStep) -> None:
        async with self._work.container(self._base, layer=self._layer, bare=True) as container:
            arguments = {"path": step.path, "owner": step.owner}
            await self._transfer(step, (container, "make_working_directory", arguments))

    async def _copy(self, step: CopyStep) -> None:
        arguments = {
            "destination": step.destination,
            "as_directory": step.as_directory,
            "owner": step.owner,
            "keep_owner": step.source.stage is not None or step.source.image is not None,
            "mode": step.mode,
        }
        async with self._work.container(self._base, layer=self._layer, bare=True) as target:
            unpack = (target, "unpack", arguments)
            if step.files:
                directory = self._write_files(step.files)
                await self._transfer(step, (directory, "pack", _sources(list(step.files))), unpack)
            if step.patterns:
                pack = {"sources": step.patterns, "archives": step.archives}
                async with self._source(step) as source:
                    await self._transfer(step, (source, "pack", pack), unpack)

    @asynccontextmanager
    async def _source(self, step: CopyStep) -> AsyncIterator[Process | str]:
        source = step.source
        if source.stage is None and source.image is None:
            yield str(self._work.context)
            return
        image = (
            self._stages[source.stage]
            if source.stage is not None
            else self._work.machine.images.find(source.image or "")
        )
        async with self._work.container(image, bare=True) as container:
            yield container

    def _write_files(self, files: Mapping[str, str]) -> str:
        self._work.steps += 1
        directory = self._work.directory / "inline" / str(self._work.steps)
        directory.mkdir(parents=True)
        for name, content in files.items():
            (directory / name).write_text(content)
            (directory / name).chmod(0o644)
        return str(directory)

    async def _transfer(self, step: Step, *ends: tuple[Process | str, str, Mapping[str, Any]]) -> None:
        """Run one half of a copy, or two with a pipe between them."""
        errors = await self._work.machine.namespaces.transfer(ends)
        if errors:
            raise _failure(step, errors[0])


def _make_directories(root: RootSpec) -> None:
    for overlay in root["overlays"]:
        for path in (overlay["upper"], overlay["work"]):
            if path is not None:
                Path(path).mkdir(parents=True, exist_ok=True)


def _sources(names: list[str]) -> dict[str, Any]:
    return {"sources": names, "archives": False}


def _failure(step: Step, why: str) -> PermanentError:
    instruction = step.instruction
    return PermanentError(f"Dockerfile line {instruction.line}: {instruction.text}: {why}")
