"""The shell scripts that run in the pod. Pure; POSIX sh, of BusyBox too.

A command, its variables and its user travel by stdin: an argument shows in ``/proc/*/cmdline`` and in audit logs, and
one argument is at most 128 KiB.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_END = "#end"

BOOTSTRAP = (
    "sh",
    "-c",
    f"""
read -r ha_n && ha_s=$(head -c "$ha_n") && case $ha_s in *"{_END}") eval "$ha_s" ;; *) exit 125 ;; esac
""".strip(),
)
"""The argv of every command's exec. It reads a script from stdin, and runs it only if it came whole.

``read`` takes a pipe byte by byte, so what follows the line is left to ``head``, which knows how much that is: a
stream of v4 cannot say that stdin ends.
"""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as Harbor gives it."""

    text: str
    """For ``bash -c``, or ``sh -c`` where the image has no bash."""
    env: Mapping[str, str]
    """Variables on top of the container's."""
    cwd: str | None = None
    """``None``: the container's own."""
    user: str | int | None = None
    """Name or uid; ``None``: the container's own, which is root."""


def payload(command: Command, command_id: str) -> bytes:
    """What :data:`BOOTSTRAP` reads for a command.

    Raises:
        ValueError: a NUL, or a variable's name that no shell can export.
    """
    script = _WRAPPER.replace("@MARKER@", f"harbor-aws:{command_id}:")
    script = script.replace("@USER@", shlex.quote("" if command.user is None else str(command.user)))
    script = script.replace("@COMMAND@", shlex.quote(_inner(command, command_id)))
    if "\0" in script:
        raise ValueError("A command cannot contain a NUL character.")
    data = f"{script}\n{_END}".encode(errors="surrogateescape")
    return b"%d\n%b" % (len(data), data)


def _inner(command: Command, command_id: str) -> str:
    """What the command's own shell evaluates, as the command's user."""
    unusable = [name for name in command.env if not _VARIABLE.match(name)]
    if unusable:
        raise ValueError(f"No shell can export variables of these names: {', '.join(map(repr, unusable))}")
    lines = [f"printf 'harbor-aws:%s:start:%s:' {command_id} $$"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in command.env.items()]
    if command.cwd is not None:
        lines.append(f"cd -- {shlex.quote(command.cwd)} || exit 1")
    return "\n".join([*lines, command.text])


_WRAPPER = r"""
ha_shell=$(command -v bash)
case $ha_shell in /*) ;; *) ha_shell=/bin/sh ;; esac
ha_run='eval "$(cat)" </dev/null'
ha_user=@USER@

ha_become() {
  ha_name= ha_uid= ha_gid= ha_home=/
  while IFS=: read -r ha_n ha_x ha_u ha_g ha_c ha_h ha_s; do
    if [ "$ha_n" = "$ha_user" ] || [ "$ha_u" = "$ha_user" ]; then
      ha_name=$ha_n ha_uid=$ha_u ha_gid=$ha_g ha_home=$ha_h
      break
    fi
  done </etc/passwd
  if [ -z "$ha_uid" ]; then
    case $ha_user in
      *[!0-9]*) echo "harbor-aws: the image has no user '$ha_user'" >&2; return 126 ;;
      *) ha_uid=$ha_user ha_gid=0 ;;
    esac
  fi
  if [ "$ha_uid" = "$(id -u)" ]; then "$ha_shell" -c "$ha_run"; return; fi
  if setpriv --reuid 0 --regid 0 --clear-groups true 2>/dev/null; then
    ha_groups=--clear-groups
    [ -n "$ha_name" ] && ha_groups=--init-groups
    HOME=$ha_home USER=$ha_name LOGNAME=$ha_name \
      setpriv --reuid "$ha_uid" --regid "$ha_gid" "$ha_groups" -- "$ha_shell" -c "$ha_run"
    return
  fi
  for ha_switch in runuser su; do
    if [ -n "$ha_name" ] && command -v "$ha_switch" >/dev/null 2>&1; then
      "$ha_switch" -s "$ha_shell" -c "$ha_run" "$ha_name"
      return
    fi
  done
  echo "harbor-aws: the image has no setpriv, runuser or su to become user '$ha_user'" >&2
  return 126
}

ha_command() {
  if [ -z "$ha_user" ]; then "$ha_shell" -c "$ha_run"; else ha_become; fi
}

# What a background child still prints after the stream is closed must not kill it: the second cat takes over.
ha_drain() { cat 2>/dev/null || cat >/dev/null; }

# The marker goes through the same pipe as the output, so it comes behind the last of it, and no sooner.
exec 5>&1 6>&2
{
  {
    printf '%s' @COMMAND@ | ha_command
    ha_code=$?
    printf '%send:%s:' '@MARKER@' "$ha_code"
    printf '%send:%s:' '@MARKER@' "$ha_code" >&2
  } 2>&1 >&7 5>&- 6>&- 7>&- | ha_drain >&6 5>&- 6>&- 7>&-
} 7>&1 | ha_drain >&5 5>&- 6>&-
"""

KILL_GRACE_SECONDS = 2
"""How long a command has between TERM and KILL."""


def kill_argv(pid: int) -> tuple[str, ...]:
    """The argv of an exec that ends the command whose shell has this pid, and waits until it is over."""
    return ("sh", "-c", _KILL, "sh", str(pid), str(KILL_GRACE_SECONDS))


# Who is killed: the command's shell, all below it, and what is left without a parent in its session. Who is spared:
# the wrapper, which is the session's leader or above the command, and the wrapper's pipes; they still deliver what was
# printed. A process that made a session of its own and gave itself to pid 1 is a daemon, meant to outlive its command.
_KILL = r"""
pid=$1 grace=$2 doomed=" $1 " session=
look() {
  table=
  for f in /proc/[0-9]*/stat; do
    { read -r line <"$f"; } 2>/dev/null || continue
    p=${line%% *} rest=${line##*) }
    state=${rest%% *} rest=${rest#* }
    parent=${rest%% *} rest=${rest#* } rest=${rest#* }
    [ "$state" = Z ] && continue
    [ "$p" = "$pid" ] && session=${rest%% *}
    table="$table $p $parent ${rest%% *}"
  done
}
descend() {
  grown=1
  while [ -n "$grown" ]; do
    grown=
    set -- $table
    while [ $# -gt 0 ]; do
      case $doomed in *" $1 "*) ;; *) case $doomed in *" $2 "*) doomed="$doomed$1 " grown=1 ;; esac ;; esac
      shift 3
    done
  done
}
spare() {
  spared=" 1 $$ $session " grown=1
  while [ -n "$grown" ]; do
    grown=
    set -- $table
    while [ $# -gt 0 ]; do
      case "$doomed$spared" in
        *" $1 "*) ;;
        *) [ "$2" != 1 ] && case $spared in *" $2 "*) spared="$spared$1 " grown=1 ;; esac ;;
      esac
      shift 3
    done
  done
}
adopt() {
  case $session in ''|0|1) return ;; esac
  set -- $table
  while [ $# -gt 0 ]; do
    case "$doomed$spared" in *" $1 "*) ;; *) [ "$3" = "$session" ] && doomed="$doomed$1 " ;; esac
    shift 3
  done
}
alive() {
  living=
  set -- $table
  while [ $# -gt 0 ]; do
    case $doomed in *" $1 "*) living="$living $1" ;; esac
    shift 3
  done
}
find_all() { look; descend; spare; adopt; descend; alive; }
find_all
[ -n "$living" ] && kill -TERM $living 2>/dev/null
deadline=$((grace * 10))
while [ -n "$living" ] && [ "$deadline" -gt 0 ]; do
  sleep 0.1 2>/dev/null || { sleep 1; deadline=$((deadline - 9)); }
  deadline=$((deadline - 1))
  find_all
done
tries=50
while [ -n "$living" ] && [ "$tries" -gt 0 ]; do
  kill -KILL $living 2>/dev/null
  sleep 0.1 2>/dev/null || sleep 1
  tries=$((tries - 1))
  find_all
done
[ -z "$living" ]
"""
