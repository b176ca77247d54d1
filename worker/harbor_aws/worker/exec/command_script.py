"""The script in the pod that starts a command, once, detached from the stream. Pure; POSIX sh, of BusyBox too.

``sh`` reads it from stdin, the command, its variables and its user in it: an argument shows in ``/proc/*/cmdline`` and
in audit logs, and one argument is at most 128 KiB. All of it is one compound command, so it runs whole or, should the
stream be cut within it, not at all.

The command writes to pipes, not to the files themselves, because many a script opens ``/dev/stdout`` or ``/dev/stderr``
anew, which would empty a file. An empty here-document is a pipe in most shells, and costs no process; it is opened for
writing under ``/proc/self/fd``.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harbor_aws.worker.exec.catch_script import CATCH
from harbor_aws.worker.exec.end_script import END, KILL_GRACE_SECONDS
from harbor_aws.worker.exec.follow_script import FOLLOW
from harbor_aws.worker.exec.markers import marker_prefix
from harbor_aws.worker.exec.places import CLAIM

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as Harbor gives it."""

    text: str
    """For ``bash``, or ``sh`` where the image has no bash."""
    env: Mapping[str, str]
    """Variables on top of the container's."""
    cwd: str | None = None
    """``None``: the container's own."""
    user: str | int | None = None
    """Name or uid; ``None``: the container's own, which is root."""


def start_script(command: Command, command_id: str, *, timeout_seconds: float | None = None) -> bytes:
    """What ``sh`` reads from stdin to start a command, unless it was started before, and to follow it.

    Args:
        timeout_seconds: after how long the command is ended in the pod, with exit code 124; in whole seconds, upwards.

    Raises:
        ValueError: a NUL, or a variable's name that no shell can export.
    """
    limit = "" if timeout_seconds is None else str(max(1, math.ceil(timeout_seconds)))
    delimiter = f"harbor-aws-{command_id}"
    script = "\n".join(
        [
            "{",
            "exec 6>&2 2>/dev/null",
            CLAIM,
            FOLLOW,
            f"ha_catch={shlex.quote(CATCH)}",
            f"ha_id={command_id} ha_prefix={marker_prefix(command_id)} ha_limit={limit}",
            f"ha_user={shlex.quote('' if command.user is None else str(command.user))}",
            _TIMER if limit else "",
            _BASH,
            _COMMAND if command.user is None else _COMMAND_AS_USER,
            _START.replace("@DELIMITER@", delimiter).replace("@INNER@", _inner(command)),
            "}\n",
        ]
    )
    if "\0" in script:
        raise ValueError("A command cannot contain a NUL character.")
    return script.encode(errors="surrogateescape")


def _inner(command: Command) -> str:
    """What the command's own shell reads from stdin, as the command's user: one compound command again."""
    unusable = [name for name in command.env if not _VARIABLE.match(name)]
    if unusable:
        raise ValueError(f"No shell can export variables of these names: {', '.join(map(repr, unusable))}")
    lines = ["{", "exec </dev/null 2>&5 5>&-", 'echo "shell $$ $PPID" >&8', "exec 8>&-"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in command.env.items()]
    if command.cwd is not None:
        lines.append(f"cd -- {shlex.quote(command.cwd)} || exit 1")
    return "\n".join([*lines, f"eval {shlex.quote(command.text)}", "}"])


# Descriptor 5 is stderr. The command's own shell turns to it first thing, so that it is not this shell's: some report
# there that a signal ended what they had run.
_COMMAND = r"""
ha_command() { if [ -n "$ha_bash" ]; then bash; else /bin/sh; fi; }
"""

_BASH = """
ha_bash=
if command -v bash >/dev/null; then ha_bash=1; fi
"""

# `su` may start a shell without a word of what it should run, but not in every image one that reads stdin.
#
# The pipes are root's, so whoever opens /dev/stdout or /dev/stderr anew needs leave. They stay root's, who may
# be without the right to open another's.
_COMMAND_AS_USER = r"""
ha_shell=/bin/sh
[ -z "$ha_bash" ] || ha_shell=$(command -v bash)
ha_command() {
  ha_name= ha_uid= ha_gid= ha_home=/
  while IFS=: read -r ha_n ha_x ha_u ha_g ha_c ha_h ha_s; do
    if [ "$ha_n" = "$ha_user" ] || [ "$ha_u" = "$ha_user" ]; then
      ha_name=$ha_n ha_uid=$ha_u ha_gid=$ha_g ha_home=$ha_h
      break
    fi
  done </etc/passwd
  if [ -z "$ha_uid" ]; then
    case $ha_user in
      *[!0-9]*) echo "harbor-aws: the image has no user '$ha_user'" >&5; return 126 ;;
      *) ha_uid=$ha_user ha_gid=0 ;;
    esac
  fi
  if [ "$ha_uid" = "$(id -u)" ]; then "$ha_shell"; return; fi
  [ -p /proc/self/fd/1 ] && [ -p /proc/self/fd/5 ] && chmod a+rw /proc/self/fd/1 /proc/self/fd/5
  if setpriv --reuid 0 --regid 0 --clear-groups true; then
    ha_groups=--clear-groups
    [ -n "$ha_name" ] && ha_groups=--init-groups
    (
      export HOME="$ha_home" USER="$ha_name" LOGNAME="$ha_name"
      exec setpriv --reuid "$ha_uid" --regid "$ha_gid" "$ha_groups" -- "$ha_shell" 2>&5
    )
    return
  fi
  for ha_switch in runuser su; do
    if [ -n "$ha_name" ] && command -v "$ha_switch" >/dev/null 2>&1; then
      (exec "$ha_switch" -s "$ha_shell" -c 'eval "$(cat)"' "$ha_name" 2>&5)
      return
    fi
  done
  echo "harbor-aws: the image has no setpriv, runuser or su to become user '$ha_user'" >&5
  return 126
}
"""

# KILL, because a shell that was just forked may swallow a TERM before it becomes `sleep`.
_TIMER = f"""
ha_end={shlex.quote(END)}
ha_timer() {{
  trap 'kill -KILL $!; exit' TERM
  sleep "$ha_limit" &
  wait $! && echo late >>"$ha_file.run" && exec sh -c "$ha_end" sh "$ha_id" {KILL_GRACE_SECONDS}
}}
"""

_START = r"""
ha_claim "$ha_id"
case $? in
  1) ha_attach "$ha_id" "$ha_prefix" 0 0; printf '%sunknown:0:' "$ha_prefix"; exit 0 ;;
  2) printf '%snowhere:0:' "$ha_prefix"; exit 0 ;;
esac
read -r ha_key ha_umask <"$ha_file.run"
umask 077
true >"$ha_file.out" && true >"$ha_file.err" && true >"$ha_file.mark"
umask "${ha_umask:-022}"
ha_run() {
  echo begin >&9
  if [ -n "$ha_limit" ]; then
    ha_timer </dev/null >/dev/null 2>&1 9>&- &
    ha_timer=$!
  fi
  exec 5>&2 2>/dev/null
  ha_command 8>>"$ha_file.run" 9>&- <<'@DELIMITER@'
@INNER@
@DELIMITER@
  ha_code=$?
  if [ -n "$ha_limit" ]; then
    ha_late=
    while read -r ha_key ha_1; do [ "$ha_key" != late ] || ha_late=1; done <"$ha_file.run"
    if [ -n "$ha_late" ]; then ha_code=124; wait "$ha_timer"; else kill "$ha_timer"; fi
  fi
  echo "exit $ha_code" >>"$ha_file.run"
  exec >&- 2>&- 5>&-
  echo "exit $ha_code" >&9
}
ha_main() {
  {
    exec 6>&-
    [ -n "$ha_bash" ] || { while sleep 0.1 && echo; do :; done 7<&- 8<&- & }
    ha_run 9>&1 >/proc/self/fd/7 2>/proc/self/fd/8 7<&- 8<&-
  } </dev/null | {
    set -- "$ha_file" "$ha_prefix" "$ha_file.mark" "" "" $$
    if [ -n "$ha_bash" ]; then
      BASH_ENV= LC_ALL=C exec bash -c "$ha_catch$ha_functions$ha_loop" bash "$@"
    else
      eval "$ha_catch$ha_functions$ha_loop"
    fi
  }
}
exec 7<<EMPTY 8<<EMPTY
EMPTY
EMPTY
if [ -p /proc/self/fd/7 ]; then ha_main; else : | { exec 7<&0; : | { exec 8<&0; ha_main; }; }; fi
exit 0
"""
