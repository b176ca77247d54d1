"""What secrets may be called. Pure."""

from __future__ import annotations

import re

from harbor_aws.infra.errors import UsageError

NAME_CHARACTERS = 54
"""Of a secret's name: with its date it is the name of an annotation, which has 63 at most.
https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set"""

VALUE_BYTES = 65_536
"""Of a secret's value, as Secrets Manager has it too. https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"""

DIRECTORIES_VARIABLE = "HARBOR_AWS_SECRETS"
"""A worker's variable: the directories of its secrets, with ``:`` between them. Of two of one name the later counts.

What is in the last one was given as a secret (`secrets set`); those before it have a shell's variables, of which only
their names tell what they are.
"""

_SETTINGS = "HARBOR_AWS_"
"""What begins so is a setting: it may be among the secrets, and hides nothing."""

RESERVED = frozenset(
    {
        "AWS_REGION",
        "HARBOR_AWS_ALIVE_FILE",
        "HARBOR_AWS_DRAIN_SECONDS",
        "HARBOR_AWS_POD_LAUNCHES_PER_SECOND",
        "HARBOR_AWS_POD_LAUNCH_BURST",
        DIRECTORIES_VARIABLE,
        "HARBOR_AWS_STACK",
        "HOME",
        "MALLOC_ARENA_MAX",
        "TMPDIR",
        "XDG_STATE_HOME",
    }
)
"""Variables that are the stack's own; no secret changes them."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_variable(name: str) -> bool:
    """Whether a secret of this name becomes a variable of the workers."""
    return bool(_NAME.match(name)) and name not in RESERVED


def is_setting(name: str) -> bool:
    """Whether a variable says how a worker works, and so is no secret, wherever it comes from."""
    return name in RESERVED or name.startswith(_SETTINGS)


def check_name(name: str) -> None:
    """Raises :class:`UsageError`, which does not repeat what may hold a value, if no secret can be called so."""
    if name in RESERVED:
        raise UsageError(f"{name} is the stack's own setting, which no secret changes.")
    if not _NAME.match(name) or len(name) > NAME_CHARACTERS:
        raise UsageError(
            f"That is no name of a variable of at most {NAME_CHARACTERS} letters, digits and '_'. Say the name alone: "
            "a value comes by stdin, --from-env or --from-file. If it was in this command line, it is in your shell's "
            "history and was in the list of processes: replace it where it was issued."
        )


def check_value(value: str) -> None:
    """Raises :class:`UsageError` if no variable can have the value."""
    if not value:
        raise UsageError("The value is empty.")
    if "\0" in value:
        raise UsageError("The value holds a NUL, which no variable can.")
    if (size := len(value.encode(errors="surrogateescape"))) > VALUE_BYTES:
        raise UsageError(f"The value has {size} bytes; {VALUE_BYTES} is the most.")
