"""The script in the pod that passes on what a command prints, until it ends. Pure; POSIX sh, of BusyBox too.

The command prints into files, so that nothing which happens to a stream happens to the command. The script looks for
news in them ten times a second, by bash's ``read -t`` where there is bash, which costs no process; that the command has
ended it learns at once.

Its own words among the output are :mod:`.markers`. The one for the end comes behind the last byte that the command
wrote. Where children that were left in the background keep a pipe open, it is put into that pipe to be sure of that.
"""

from __future__ import annotations

import shlex

from harbor_aws.worker.exec.markers import marker_prefix
from harbor_aws.worker.exec.places import FIND

TICK_SECONDS = 0.1
"""How often the files are looked at."""

ALIVE_SECONDS = 60
"""How often the script says that it still follows, whatever the command prints."""

PASS_BYTES = 4 * 1024 * 1024
"""How much of a stream is passed on at a time, so that whatever is printed meanwhile the other one has its turn, and
the end is seen."""

_ALIVE_TICKS = round(ALIVE_SECONDS / TICK_SECONDS)
_BLOCK_BYTES = 65536

# Descriptors: 0 events ("exit <code>", or an empty line as a tick), 3 and 4 the files, 1 and 6 the stream.
# ha_sink_1 and ha_sink_2 are the pids of what takes in stdout and stderr: unknown while empty, "-" for nothing.
# ha_line is what has come of an event: bash's `read` may run out of time within a line.
# ha_more says that a file may hold more than was passed on, however old it is.
_FUNCTIONS = rf"""
ha_file=$1 ha_prefix=$2 ha_mark=$3 ha_key= ha_ticks=0 ha_dead=0 ha_more=
exec 3<"$ha_file.out" 4<"$ha_file.err"
ha_say() {{ printf '%s%s:%s:' "$ha_prefix" "$1" "${{2:-0}}"; }}
ha_is_new() {{
  [ -s "/proc/self/fd/$1" ] || return
  [ -n "$ha_more" ] || ! [ "$ha_mark" -nt "/proc/self/fd/$1" ]
}}
ha_pass() {{
  read -r ha_1 ha_before <"/proc/self/fdinfo/$1"
  dd bs={_BLOCK_BYTES} count={PASS_BYTES // _BLOCK_BYTES} <&"$1" || cat <&"$1"
  read -r ha_1 ha_behind <"/proc/self/fdinfo/$1"
  [ $((ha_behind - ha_before)) -lt {PASS_BYTES} ] || ha_more=1
}}
ha_drain() {{
  ha_out= ha_err=
  ha_is_new 3 && ha_out=1
  ha_is_new 4 && ha_err=1
  ha_more=
  true >"$ha_mark"
  [ -z "$ha_out" ] || ha_pass 3
  [ -z "$ha_err" ] || ha_pass 4 >&6
}}
ha_read() {{
  while read -r ha_key ha_1 ha_2; do
    case $ha_key in
      sink) eval "ha_sink_$ha_1=$ha_2" ;;
      catch) ha_catch=$ha_1 ;;
      shell) ha_shell=$ha_1 ha_parent=$ha_2 ;;
      full) ha_was_full=1 ;;
      exit) ha_code=$ha_1 ;;
    esac
  done <"$ha_file.run"
}}
ha_heed() {{ case $1 in "exit "*) ha_code=${{1#exit }} ;; esac; }}
if [ -n "$BASH_VERSION" ]; then
  ha_wait() {{
    IFS= read -r -t {TICK_SECONDS} ha_1
    set -- $? "$ha_line$ha_1"
    ha_line=$2
    [ "$1" = 0 ] || {{ [ "$1" -gt 128 ]; return; }}
    ha_line=
    ha_heed "$2"
  }}
else
  ha_wait() {{ read -r ha_1 && ha_heed "$ha_1"; }}
fi
ha_runs() {{
  if [ -n "$ha_shell" ]; then
    [ -d "/proc/$ha_shell" ] || [ -d "/proc/$ha_parent" ]
  else
    [ "$ha_ticks" -lt 300 ] || [ -d "/proc/${{ha_catch:-none}}" ]
  fi
}}
ha_takes() {{
  eval "ha_pid=\$ha_sink_$1"
  [ -z "$ha_pid" ] || [ "/proc/$ha_pid/fd/1" -ef "/proc/self/fd/$(($1 + 2))" ]
}}
ha_inject() {{
  trap '' PIPE
  ha_takes "$1" && ha_say end "$ha_code" >"/proc/$ha_pid/fd/0"
  trap - PIPE
}}
"""

_TAKE_UP = r"""
dd bs=1 skip="$4" count=0 <&3 || tail -c "+$(($4 + 1))" <&3
dd bs=1 skip="$5" count=0 <&4 || tail -c "+$(($5 + 1))" <&4 >&6
ha_more=1
ha_read
"""

# The end is put into the pipes that children still hold. Where the disk is full it can come into no file, so then it is
# said behind what there is. Otherwise whoever would have to guess says nothing, and the next follower tries again.
_LOOP = rf"""
while [ -z "$ha_code" ]; do
  ha_wait || if [ -z "$4" ]; then ha_gone=1; else ha_wait() {{ sleep {TICK_SECONDS} || sleep 1; }}; fi
  [ -z "$ha_code" ] || break
  [ -n "$4$ha_gone$ha_more" ] && ha_read
  ha_drain
  [ -z "$ha_gone" ] || break
  ha_ticks=$((ha_ticks + 1))
  [ $((ha_ticks % {_ALIVE_TICKS})) != 0 ] || ha_say alive
  [ $((ha_ticks % 10)) = 0 ] || continue
  [ -n "$ha_shell" ] || ha_read
  if ha_runs; then ha_dead=0; else ha_dead=$((ha_dead + 1)); fi
  [ "$ha_dead" -lt 2 ] || break
done
[ -n "$ha_code" ] || ha_read
ha_tries=0
while [ -n "$ha_code" ] && [ "$ha_tries" -lt 50 ]; do
  [ -n "$ha_sink_1" ] && [ -n "$ha_sink_2" ] || ha_read
  ha_takes 1 || ha_takes 2 || break
  [ -z "$BASH_VERSION" ] || read -r -t 0.001 ha_key
  ha_tries=$((ha_tries + 1))
done
if [ -z "$ha_sink_1$ha_sink_2" ] && ! [ -d "/proc/$ha_catch" ]; then
  ha_read
  [ -n "$ha_sink_1$ha_sink_2" ] || ha_code=
fi
if [ -z "$ha_code" ]; then
  if [ -n "$ha_shell" ]; then ha_say killed; else ha_say unknown; fi
  exit 0
fi
ha_read
ha_is_full=
echo >"$ha_mark" || ha_is_full=1
[ -z "$ha_was_full$ha_is_full" ] || ha_say full
ha_more=1 ha_tries=0
while {{ ha_takes 1 || ha_takes 2; }} && [ "$ha_tries" -lt 25 ]; do
  ha_inject 1
  ha_inject 2
  sleep 0.02 || sleep 1
  ha_drain
  ha_tries=$((ha_tries + 1))
done
ha_whole_1=$ha_is_full ha_whole_2=$ha_is_full
ha_takes 1 || ha_whole_1=1
ha_takes 2 || ha_whole_2=1
ha_more=1
while [ -n "$ha_more" ]; do ha_drain; done
[ -z "$ha_whole_1" ] || ha_say end "$ha_code"
[ -z "$ha_whole_2" ] || ha_say end "$ha_code" >&6
[ -z "$6" ] || kill "$6"
"""

_ATTACH = r"""
ha_attach() {
  ha_tries=300
  until [ -e "$ha_file.err" ]; do
    while read -r ha_key ha_1; do [ "$ha_key" != exit ] || return; done <"$ha_file.run"
    [ "$ha_tries" -gt 0 ] || return
    sleep 0.1 || { sleep 1; ha_tries=$((ha_tries - 9)); }
    ha_tries=$((ha_tries - 1))
  done
  printf '%sstart:0:' "$2"
  set -- "$ha_file" "$2" "$ha_file.mark.$$" "$3" "$4" ""
  if command -v bash >/dev/null; then
    BASH_ENV= LC_ALL=C exec bash -c "$ha_functions$ha_take_up$ha_loop" bash "$@"
  else
    while sleep 0.1 && echo; do :; done | eval "$ha_functions$ha_take_up$ha_loop"
    exit 0
  fi
}
"""

FOLLOW = f"""{FIND}
ha_functions={shlex.quote(_FUNCTIONS)}
ha_take_up={shlex.quote(_TAKE_UP)}
ha_loop={shlex.quote(_LOOP)}
{_ATTACH}"""
"""Defines ``ha_attach ID PREFIX STDOUT_BYTES STDERR_BYTES``, which follows the command that ``ha_find`` found, behind
so many bytes, and returns only if it was never started: it was ended before, or what had claimed it was killed. And
``ha_functions`` and ``ha_loop`` for who follows a command from its beginning.

The arguments of these are the stem of the command's files; the markers' prefix; a file for this follower's own mark;
how many bytes of stdout and stderr are known, or nothing from the beginning; the pid of the shell that waits for this
one, or nothing. That shell would have to wait for children that the command left behind, too, so it is ended.
"""


def attach_script(command_id: str, *, stdout_bytes: int, stderr_bytes: int) -> bytes:
    """What ``sh`` reads from stdin to go on with a command, after so many bytes of what it has printed."""
    prefix = marker_prefix(command_id)
    return f"""{{
exec 6>&2 2>/dev/null
{FOLLOW}
ha_find {command_id} && ha_attach {command_id} {prefix} {stdout_bytes} {stderr_bytes}
printf '%sunknown:0:' {prefix}
exit 0
}}
""".encode()
