"""From one stage's instructions to its steps. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.images.build_steps import CopyStep, DirectoryStep, RunStep, Source
from harbor_aws.infra.local.kubernetes.images.dockerfile import DockerfileError
from harbor_aws.infra.local.kubernetes.images.dockerfile_words import replace_only_variables
from harbor_aws.infra.local.kubernetes.images.instruction_words import assignments, check_flags, replaced, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.local.kubernetes.images.build_steps import StagePlan
    from harbor_aws.infra.local.kubernetes.images.dockerfile import Instruction, Stage
    from harbor_aws.infra.local.kubernetes.images.store import ImageConfig

_NOTED = frozenset({"EXPOSE", "VOLUME", "HEALTHCHECK", "MAINTAINER"})
"""Instructions that change nothing of what a pod of this runtime sees."""
_EMPTY_MOUNTS = frozenset({"cache", "tmpfs"})


class StagePlanner:
    """Follows one stage's instructions, keeping the environment, the directory and the user."""

    def __init__(
        self, plan: StagePlan, source: Callable[[str, int], Source], arguments: Mapping[str, str], escape: str
    ) -> None:
        self._source = source
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
            check_flags(instruction)
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
        for name, value in assignments(instruction, self._variables, self._escape, bare=True):
            if value is None:
                if name in self._global_arguments:
                    self._arguments[name] = self._global_arguments[name]
            else:
                self._arguments[name] = value

    def _env(self, instruction: Instruction) -> None:
        new = {name: value or "" for name, value in assignments(instruction, self._variables, self._escape)}
        self._plan.config = replace(self._config, env={**self._config.env, **new})

    def _label(self, instruction: Instruction) -> None:
        new = {name: value or "" for name, value in assignments(instruction, self._variables, self._escape)}
        self._plan.config = replace(self._config, labels={**self._config.labels, **new})

    def _workdir(self, instruction: Instruction) -> None:
        path = self._absolute(replaced(instruction.value, instruction, self._variables, self._escape))
        self._plan.config = replace(self._config, working_dir=path)
        self._plan.steps.append(DirectoryStep(instruction, path, self._config.user))

    def _user(self, instruction: Instruction) -> None:
        user = replaced(instruction.value, instruction, self._variables, self._escape)
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
        name = replaced(instruction.value, instruction, self._variables, self._escape)
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
        return self._absolute(replaced(target, instruction, self._variables, self._escape))

    def _copy(self, instruction: Instruction, *, archives: bool = False) -> None:
        flags = dict(instruction.flags)
        words = instruction.json_form()
        if words is None:
            words = words_of(instruction, self._variables, self._escape)
        else:
            words = [replaced(word, instruction, self._variables, self._escape) for word in words]
        if len(words) < 2:
            raise DockerfileError(instruction.line, f"{instruction.name} takes a source and a destination")
        *patterns, destination = words
        files = self._inline_files(instruction)
        patterns = [one for one in patterns if not one.startswith("<<")]
        wanted = flags.get("from")
        owner = replaced(flags.get("chown", ""), instruction, self._variables, self._escape) or None
        self._plan.steps.append(
            CopyStep(
                instruction,
                self._source(wanted, self._plan.number) if wanted else Source(),
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
        words = instruction.json_form() or words_of(instruction, self._variables, self._escape)
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
