"""An instruction's flags, words and assignments, errors naming its line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.infra.local.kubernetes.images.dockerfile import DockerfileError
from harbor_aws.infra.local.kubernetes.images.dockerfile_words import WordError, replace_variables, split_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harbor_aws.infra.local.kubernetes.images.dockerfile import Instruction

_FLAGS = {
    "FROM": {"platform"},
    "RUN": {"mount", "network", "security"},
    "COPY": {"from", "chown", "chmod", "link", "parents"},
    "ADD": {"chown", "chmod", "link"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
_REFUSED_FLAGS = frozenset({"parents"})


def check_flags(instruction: Instruction) -> None:
    for name, value in instruction.flags:
        if name not in _FLAGS.get(instruction.name, set()) or name in _REFUSED_FLAGS:
            raise DockerfileError(instruction.line, f"{instruction.name} --{name}={value} is not supported")


def words_of(instruction: Instruction, variables: Mapping[str, str], escape: str) -> list[str]:
    try:
        return split_words(instruction.value, variables, escape)
    except WordError as error:
        raise DockerfileError(instruction.line, f"{instruction.text}: {error}") from error


def replaced(text: str, instruction: Instruction, variables: Mapping[str, str], escape: str) -> str:
    try:
        return replace_variables(text, variables, escape)
    except WordError as error:
        raise DockerfileError(instruction.line, f"{instruction.text}: {error}") from error


def assignments(
    instruction: Instruction, variables: Mapping[str, str], escape: str, *, bare: bool = False
) -> list[tuple[str, str | None]]:
    """The names and values of ENV, LABEL and ARG; ``bare`` allows a name alone, whose value is ``None``."""
    first = instruction.value.split(maxsplit=1)
    if not first:
        raise DockerfileError(instruction.line, f"{instruction.name} takes names and values")
    if not bare and "=" not in first[0]:
        if len(first) < 2:
            raise DockerfileError(instruction.line, f"{instruction.name} {first[0]} has no value")
        return [(first[0], replaced(first[1], instruction, variables, escape))]
    pairs: list[tuple[str, str | None]] = []
    for word in words_of(instruction, variables, escape):
        name, equals, value = word.partition("=")
        if not equals and not bare:
            raise DockerfileError(instruction.line, f"{instruction.name}: {word} has no value")
        pairs.append((name, value if equals else None))
    return pairs
