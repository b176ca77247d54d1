"""What a build does, step by step. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harbor_aws.infra.local.kubernetes.images.dockerfile import Instruction
    from harbor_aws.infra.local.kubernetes.images.store import ImageConfig


@dataclass(frozen=True, slots=True)
class Source:
    """Where a COPY takes files from: the context, unless a stage or an image is named."""

    stage: int | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class RunStep:
    """A program to run."""

    instruction: Instruction
    args: list[str]
    env: dict[str, str]
    cwd: str
    user: str
    script: str | None = None
    """Content of the file that is appended to ``args``: a here-document that names its own interpreter."""
    memory: tuple[str, ...] = ()
    """Directories that are empty, and forgotten after the step."""


@dataclass(frozen=True, slots=True)
class CopyStep:
    """Files to copy."""

    instruction: Instruction
    source: Source
    patterns: list[str]
    files: dict[str, str]
    """Names and contents of here-documents."""
    destination: str
    """Absolute."""
    as_directory: bool
    owner: str | None
    mode: int | None
    archives: bool
    """Whether local tar archives are unpacked."""


@dataclass(frozen=True, slots=True)
class DirectoryStep:
    """A directory to make."""

    instruction: Instruction
    path: str
    owner: str


Step = RunStep | CopyStep | DirectoryStep


@dataclass(slots=True)
class StagePlan:
    """One stage that the last one needs."""

    number: int
    base: str | int
    """An image's name, or an earlier stage's number."""
    config: ImageConfig
    """Of the finished stage."""
    steps: list[Step] = field(default_factory=list)
