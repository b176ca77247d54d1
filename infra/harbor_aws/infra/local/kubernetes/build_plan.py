"""From a Dockerfile to the steps of its build. Pure: everything that cannot be done is found before anything runs."""

from __future__ import annotations

import platform
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.dockerfile import DockerfileError
from harbor_aws.infra.local.kubernetes.dockerfile_words import (
    WordError,
    replace_only_variables,
    replace_variables,
    split_words,
)
from harbor_aws.infra.local.kubernetes.images import ImageConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.local.kubernetes.dockerfile import Dockerfile, Instruction, Stage

SCRATCH = "scratch"
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORM = f"linux/{_ARCHITECTURE}"
"""The only platform that is built for: this machine's."""
_PREDEFINED = {
    f"{side}{name}": value
    for side in ("TARGET", "BUILD")
    for name, value in (("PLATFORM", PLATFORM), ("OS", "linux"), ("ARCH", _ARCHITECTURE), ("VARIANT", ""))
}
_NOTED = frozenset({"EXPOSE", "VOLUME", "HEALTHCHECK", "MAINTAINER"})
"""Instructions that change nothing of what a pod of this runtime sees."""
_FLAGS = {
    "FROM": {"platform"},
    "RUN": {"mount", "network", "security"},
    "COPY": {"from", "chown", "chmod", "link", "parents"},
    "ADD": {"chown", "chmod", "link"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
_REFUSED_FLAGS = frozenset({"parents"})
_EMPTY_MOUNTS = frozenset({"cache", "tmpfs"})


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


def plan_build(dockerfile: Dockerfile, configuration: Callable[[str], ImageConfig]) -> list[StagePlan]:
    """The stages that the last one needs, in order.

    Args:
        configuration: the configuration of an image by its name.

    Raises:
        DockerfileError: an instruction is wrong or not supported.
    """
    planner = _Planner(dockerfile, configuration)
    needed = planner.needed(len(dockerfile.stages) - 1)
    plans: dict[int, StagePlan] = {}
    for number in sorted(needed):
        plans[number] = planner.stage(number, plans)
    return list(plans.values())


class _Planner:
    def __init__(self, dockerfile: Dockerfile, configuration: Callable[[str], ImageConfig]) -> None:
        self._stages = dockerfile.stages
        self._escape = dockerfile.escape
        self._configuration = configuration
        self._arguments = dict(_PREDEFINED)
        for instruction in dockerfile.arguments:
            for name, value in _assignments(instruction, self._arguments, self._escape, bare=True):
                self._arguments[name] = value if value is not None else self._arguments.get(name, "")
        self._bases: list[tuple[str | int, str]] = []
        for stage in self._stages:
            self._bases.append(self._base(stage.start))

    def needed(self, number: int) -> set[int]:
        """The stages that stage ``number`` is built on or copies from, and itself."""
        found = {number}
        base = self._bases[number][0]
        others = [base] if isinstance(base, int) else []
        for instruction in self._stages[number].instructions:
            wanted = dict(instruction.flags).get("from") if instruction.name == "COPY" else None
            source = self.source(wanted, number) if wanted else Source()
            others += [source.stage] if source.stage is not None else []
        for other in others:
            found |= self.needed(other)
        return found

    def source(self, wanted: str, before: int) -> Source:
        """What ``--from=wanted`` means in stage ``before``."""
        for number in reversed(range(before)):
            if self._bases[number][1] == wanted.lower():
                return Source(stage=number)
        if wanted.isdigit() and int(wanted) < before:
            return Source(stage=int(wanted))
        return Source(image=wanted)

    def stage(self, number: int, plans: Mapping[int, StagePlan]) -> StagePlan:
        base = self._bases[number][0]
        if isinstance(base, int):
            config = plans[base].config
        else:
            config = ImageConfig() if base == SCRATCH else self._configuration(base)
        plan = StagePlan(number, base, config)
        _StagePlanner(self, plan, self._arguments, self._escape).run(self._stages[number])
        return plan

    def _base(self, start: Instruction) -> tuple[str | int, str]:
        """The base and the lower-case name of the stage after those that are known."""
        _check_flags(start)
        words = _words(start, self._arguments, self._escape)
        if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
            raise DockerfileError(start.line, f"{start.text}: FROM takes an image, and AS with a name")
        wanted = _replaced(dict(start.flags).get("platform", ""), start, self._arguments, self._escape)
        if wanted and wanted.split("/")[:2] != PLATFORM.split("/"):
            raise DockerfileError(start.line, f"--platform={wanted} is not this machine's, {PLATFORM}")
        base: str | int = words[0]
        for number, (_, name) in enumerate(self._bases):
            if name == words[0].lower():
                base = number
        return base, words[2].lower() if len(words) == 3 else ""


class _StagePlanner:
    """Follows one stage's instructions, keeping the environment, the directory and the user."""

    def __init__(self, planner: _Planner, plan: StagePlan, arguments: Mapping[str, str], escape: str) -> None:
        self._planner = planner
        self._plan = plan
        self._global_arguments = arguments
        self._arguments: dict[str, str] = {}
        self._escape = escape
        self._shell = ["/bin/sh", "-c"]
        self._has_cmd = False
        self._methods: dict[str, Callable[[Instruction], None]] = {
            "ADD": self._add,
            "ARG": self._arg,
            "CMD": self._cmd,
            "COPY": self._copy,
            "ENTRYPOINT": self._entrypoint,
            "ENV": self._env,
            "LABEL": self._label,
            "RUN": self._run,
            "SHELL": self._set_shell,
            "STOPSIGNAL": self._stopsignal,
            "USER": self._user,
            "WORKDIR": self._workdir,
        }

    def run(self, stage: Stage) -> None:
        for instruction in stage.instructions:
            _check_flags(instruction)
            if instruction.name in _NOTED:
                continue
            if instruction.name not in self._methods:
                raise DockerfileError(instruction.line, f"the instruction {instruction.name} is not supported")
            self._methods[instruction.name](instruction)

    @property
    def _config(self) -> ImageConfig:
        return self._plan.config

    @property
    def _variables(self) -> dict[str, str]:
        return {**self._arguments, **self._config.env}

    def _arg(self, instruction: Instruction) -> None:
        for name, value in _assignments(instruction, self._variables, self._escape, bare=True):
            if value is None:
                if name in self._global_arguments:
                    self._arguments[name] = self._global_arguments[name]
            else:
                self._arguments[name] = value

    def _env(self, instruction: Instruction) -> None:
        new = {name: value or "" for name, value in _assignments(instruction, self._variables, self._escape)}
        self._plan.config = replace(self._config, env={**self._config.env, **new})

    def _label(self, instruction: Instruction) -> None:
        new = {name: value or "" for name, value in _assignments(instruction, self._variables, self._escape)}
        self._plan.config = replace(self._config, labels={**self._config.labels, **new})

    def _workdir(self, instruction: Instruction) -> None:
        path = self._absolute(_replaced(instruction.value, instruction, self._variables, self._escape))
        self._plan.config = replace(self._config, working_dir=path)
        self._plan.steps.append(DirectoryStep(instruction, path, self._config.user))

    def _user(self, instruction: Instruction) -> None:
        user = _replaced(instruction.value, instruction, self._variables, self._escape)
        self._plan.config = replace(self._config, user=user)

    def _set_shell(self, instruction: Instruction) -> None:
        words = instruction.json_form()
        if not words:
            raise DockerfileError(instruction.line, "SHELL takes a JSON list")
        self._shell = words

    def _cmd(self, instruction: Instruction) -> None:
        self._has_cmd = True
        self._plan.config = replace(self._config, cmd=self._command(instruction))

    def _entrypoint(self, instruction: Instruction) -> None:
        cmd = self._config.cmd if self._has_cmd else []
        self._plan.config = replace(self._config, entrypoint=self._command(instruction), cmd=cmd)

    def _stopsignal(self, instruction: Instruction) -> None:
        name = _replaced(instruction.value, instruction, self._variables, self._escape)
        self._plan.config = replace(self._config, stop_signal=name)

    def _run(self, instruction: Instruction) -> None:
        memory: list[str] = []
        for name, value in instruction.flags:
            if name == "mount":
                memory.append(self._mount(instruction, value))
            elif (name, value) not in {("network", "default"), ("network", "host"), ("security", "sandbox")}:
                raise DockerfileError(instruction.line, f"RUN --{name}={value} is not supported")
        args, script = self._run_command(instruction)
        env = {**self._arguments, **self._config.env}
        step = RunStep(
            instruction, args, env, self._config.working_dir or "/", self._config.user, script, tuple(memory)
        )
        self._plan.steps.append(step)

    def _run_command(self, instruction: Instruction) -> tuple[list[str], str | None]:
        words = instruction.json_form()
        if words is not None:
            return words, None
        if not instruction.value:
            raise DockerfileError(instruction.line, "RUN without a command")
        if not instruction.heredocs:
            return [*self._shell, instruction.value], None
        first = instruction.heredocs[0]
        alone = instruction.value.lstrip("<-").strip("\"'") == first.name
        if alone and first.content.startswith("#!"):
            return [], first.content
        if alone:
            return [*self._shell, first.content], None
        bodies = "".join(f"\n{one.content}{one.name}" for one in instruction.heredocs)
        return [*self._shell, f"{instruction.value}{bodies}\n"], None

    def _mount(self, instruction: Instruction, value: str) -> str:
        options = dict(one.partition("=")[::2] for one in value.split(","))
        kind, target = (
            options.get("type", "bind"),
            options.get("target") or options.get("dst") or options.get("destination"),
        )
        if kind not in _EMPTY_MOUNTS or not target:
            raise DockerfileError(
                instruction.line, f"RUN --mount={value} is not supported: only type=cache and type=tmpfs"
            )
        return self._absolute(_replaced(target, instruction, self._variables, self._escape))

    def _copy(self, instruction: Instruction, *, archives: bool = False) -> None:
        flags = dict(instruction.flags)
        words = instruction.json_form()
        if words is None:
            words = _words(instruction, self._variables, self._escape)
        else:
            words = [_replaced(word, instruction, self._variables, self._escape) for word in words]
        if len(words) < 2:
            raise DockerfileError(instruction.line, f"{instruction.name} takes a source and a destination")
        *patterns, destination = words
        files = self._inline_files(instruction)
        patterns = [one for one in patterns if not one.startswith("<<")]
        wanted = flags.get("from")
        owner = _replaced(flags.get("chown", ""), instruction, self._variables, self._escape) or None
        self._plan.steps.append(
            CopyStep(
                instruction,
                self._planner.source(wanted, self._plan.number) if wanted else Source(),
                [self._pattern(instruction, one) for one in patterns],
                files,
                self._absolute(destination),
                as_directory=destination.endswith("/") or destination in {".", ".."} or len(patterns) + len(files) > 1,
                owner=owner,
                mode=self._mode(instruction, flags.get("chmod")),
                archives=archives,
            )
        )

    def _add(self, instruction: Instruction) -> None:
        words = instruction.json_form() or _words(instruction, self._variables, self._escape)
        for word in words[:-1]:
            if "://" in word or word.startswith("git@"):
                raise DockerfileError(instruction.line, f"ADD of the address {word} is not supported: only local files")
        self._copy(instruction, archives=True)

    def _inline_files(self, instruction: Instruction) -> dict[str, str]:
        return {
            one.name: replace_only_variables(one.content, self._variables, self._escape) if one.expand else one.content
            for one in instruction.heredocs
        }

    def _pattern(self, instruction: Instruction, pattern: str) -> str:
        cleaned = posixpath.normpath(pattern.lstrip("/") or ".")
        if cleaned.startswith(".."):
            raise DockerfileError(instruction.line, f"{pattern} lies outside the build context")
        return cleaned

    def _mode(self, instruction: Instruction, mode: str | None) -> int | None:
        if mode is None:
            return None
        try:
            return int(mode, 8)
        except ValueError:
            raise DockerfileError(instruction.line, f"--chmod={mode} is not supported: only octal numbers") from None

    def _command(self, instruction: Instruction) -> list[str]:
        words = instruction.json_form()
        if words is not None:
            return words
        return [*self._shell, instruction.value] if instruction.value else []

    def _absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._config.working_dir or "/", path))


def _check_flags(instruction: Instruction) -> None:
    for name, value in instruction.flags:
        if name not in _FLAGS.get(instruction.name, set()) or name in _REFUSED_FLAGS:
            raise DockerfileError(instruction.line, f"{instruction.name} --{name}={value} is not supported")


def _words(instruction: Instruction, variables: Mapping[str, str], escape: str) -> list[str]:
    try:
        return split_words(instruction.value, variables, escape)
    except WordError as error:
        raise DockerfileError(instruction.line, f"{instruction.text}: {error}") from error


def _replaced(text: str, instruction: Instruction, variables: Mapping[str, str], escape: str) -> str:
    try:
        return replace_variables(text, variables, escape)
    except WordError as error:
        raise DockerfileError(instruction.line, f"{instruction.text}: {error}") from error


def _assignments(
    instruction: Instruction, variables: Mapping[str, str], escape: str, *, bare: bool = False
) -> list[tuple[str, str | None]]:
    """The names and values of ENV, LABEL and ARG; ``bare`` allows a name alone, whose value is ``None``."""
    first = instruction.value.split(maxsplit=1)
    if not first:
        raise DockerfileError(instruction.line, f"{instruction.name} takes names and values")
    if not bare and "=" not in first[0]:
        if len(first) < 2:
            raise DockerfileError(instruction.line, f"{instruction.name} {first[0]} has no value")
        return [(first[0], _replaced(first[1], instruction, variables, escape))]
    pairs: list[tuple[str, str | None]] = []
    for word in _words(instruction, variables, escape):
        name, equals, value = word.partition("=")
        if not equals and not bare:
            raise DockerfileError(instruction.line, f"{instruction.name}: {word} has no value")
        pairs.append((name, value if equals else None))
    return pairs
