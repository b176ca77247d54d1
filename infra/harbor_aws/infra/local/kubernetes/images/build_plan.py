"""From a Dockerfile to the stages of its build. Pure: everything that cannot be done is found before anything runs."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.images.build_steps import Source, StagePlan
from harbor_aws.infra.local.kubernetes.images.dockerfile import DockerfileError
from harbor_aws.infra.local.kubernetes.images.instruction_words import assignments, check_flags, replaced, words_of
from harbor_aws.infra.local.kubernetes.images.stage_plan import StagePlanner
from harbor_aws.infra.local.kubernetes.images.store import ImageConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harbor_aws.infra.local.kubernetes.images.dockerfile import Dockerfile, Instruction

SCRATCH = "scratch"
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORM = f"linux/{_ARCHITECTURE}"
"""The only platform that is built for: this machine's."""
_PREDEFINED = {
    f"{side}{name}": value
    for side in ("TARGET", "BUILD")
    for name, value in (("PLATFORM", PLATFORM), ("OS", "linux"), ("ARCH", _ARCHITECTURE), ("VARIANT", ""))
}


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
            for name, value in assignments(instruction, self._arguments, self._escape, bare=True):
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
        StagePlanner(plan, self.source, self._arguments, self._escape).run(self._stages[number])
        return plan

    def _base(self, start: Instruction) -> tuple[str | int, str]:
        """The base and the lower-case name of the stage after those that are known."""
        check_flags(start)
        words = words_of(start, self._arguments, self._escape)
        if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
            raise DockerfileError(start.line, f"{start.text}: FROM takes an image, and AS with a name")
        wanted = replaced(dict(start.flags).get("platform", ""), start, self._arguments, self._escape)
        if wanted and wanted.split("/")[:2] != PLATFORM.split("/"):
            raise DockerfileError(start.line, f"--platform={wanted} is not this machine's, {PLATFORM}")
        base: str | int = words[0]
        for number, (_, name) in enumerate(self._bases):
            if name == words[0].lower():
                base = number
        return base, words[2].lower() if len(words) == 3 else ""
