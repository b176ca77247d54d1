"""Where a command's traces lie in the pod, and how its scripts find them. Pure; POSIX sh, of BusyBox too.

A command has files named by its id, in a directory that root alone can list:

- ``<id>.run``, its journal. That it exists means that the command was started, here, and is never started again. Its
  lines: ``umask <the container's>``; ``catch <pid>``, what begins to take in the output; ``sink <1 or 2> <pid>``, what
  goes on with stdout or stderr, ``-`` if there is no need; ``shell <pid> <pid of its parent>``, the command's own;
  ``full``, some of the output could not be kept; ``late``, it ran out of time; ``doomed <session> <pids>``, who is
  ended with it; ``exit <code>``, it has ended.
- ``<id>.out`` and ``<id>.err``, all that it printed. They stay until the pod goes.
- ``<id>.mark*``, whose age tells what is new in those two.
"""

from __future__ import annotations

OUTPUT_DIRECTORY = "/tmp/.harbor-aws"  # noqa: S108 - in the pod
"""Where the files are."""

_DIRECTORIES = f"{OUTPUT_DIRECTORY} /dev/shm/.harbor-aws"  # the second one while the pod's disk is full

FIND = f"""
ha_find() {{
  for ha_directory in {_DIRECTORIES}; do
    ha_file=$ha_directory/$1
    [ -s "$ha_file.run" ] && return
  done
  return 1
}}
"""
"""Defines ``ha_find ID``: sets ``ha_file``, the stem of the files' names; fails if the command was never started."""

CLAIM = f"""{FIND}
ha_claim() {{
  ha_find "$1" && return 1
  for ha_directory in {_DIRECTORIES}; do
    ha_file=$ha_directory/$1
    [ -d "$ha_directory" ] || mkdir -p -m 711 "$ha_directory"
    set -C
    if true >"$ha_file.run"; then
      set +C
      {{ printf 'umask ' && umask; }} >>"$ha_file.run" && return
    else
      set +C
      [ -e "$ha_file.run" ] && return 1
    fi
  done
  return 2
}}
"""
"""Defines ``ha_claim ID``: sets ``ha_file``. 0: nobody had, so start it; 1: it was started; 2: no file can be made."""
