"""The script in the pod that takes in what a command prints, from its pipes to its files. Pure; POSIX sh.

A small process for each stream does it, which outlives everything but the pod. It costs as much as a short command,
so a command that ends within a moment, having printed nothing, does without: until then the pipes hold what comes.
"""

from __future__ import annotations

PATIENCE_SECONDS = 0.05
"""How long the pipes are left alone; they hold 64 KiB each."""

# While nothing else holds the pipes, no end of the stream may end this.
#
# Nothing may be read before the command's side has opened the pipes, or they would seem to be at their end: the first
# event, "begin", says so. What takes in a stream is known by its descriptor 1, which is the file from its birth to its
# end: so it writes nothing else, and its parent tells its pid.
#
# A disk that is full ends `cat`, with what it had read, and `tee` writes nothing any more. So `cat` is started anew for
# what comes next, and the loss is noted once. A command that has ended has but a pipe's content left, so `tee` will do.
#
# Descriptors: 0 events, 7 and 8 the pipes of stdout and stderr, 1 and 6 the stream. It is 5 while sinks are made: what
# a shell saves by itself for a redirection would stay open in a sink, and the stream with it.
#
# A pipe is at its end if something can be read and nothing is; a byte that was read to find that out is the file's
# first. Only bash can do all that.
CATCH = rf"""
ha_sink() {{
  exec <&"$1" 5>&- 6>&- 7<&- 8<&-
  [ -z "$ha_code" ] || exec tee /dev/null
  ha_full=
  until cat; do
    [ $? != 127 ] || return
    [ -n "$ha_full" ] || echo full >>"$ha_file.run"
    ha_full=1
  done
}}
ha_is_empty() {{
  [ -n "$ha_code" ] && read -r -t 0 -u "$1" || return
  IFS= read -r -d '' -n 1 -u "$1" ha_byte || return 0
  if [ -n "$ha_byte" ]; then printf %s "$ha_byte"; else printf '\0'; fi >>"$2"
  return 1
}}
ha_file=$1 ha_line= ha_code= ha_sink_1= ha_sink_2=
cd -P /proc/self && echo "catch ${{PWD##*/}}" >>"$ha_file.run"
trap '' PIPE
printf '%sstart:0:' "$2"
while read -r ha_key && [ "$ha_key" != begin ]; do :; done
if [ "$ha_key" != begin ]; then
  printf '%snowhere:0:' "$2"
  exit 0
fi
if [ -n "$BASH_VERSION" ]; then
  if IFS= read -r -t {PATIENCE_SECONDS} ha_line; then
    ha_code=${{ha_line#exit }} ha_line=
  fi
  ! ha_is_empty 7 "$ha_file.out" || ha_sink_1=-
  ! ha_is_empty 8 "$ha_file.err" || ha_sink_2=-
  if [ "$ha_sink_1$ha_sink_2" = -- ]; then
    printf 'sink %s -\n' 1 2 >>"$ha_file.run"
    printf '%send:%s:' "$2" "$ha_code"
    printf '%send:%s:' "$2" "$ha_code" >&6
    kill "$6"
    exit 0
  fi
fi
exec 5>&1
if [ -z "$ha_sink_1" ]; then exec >>"$ha_file.out"; ha_sink 7 & ha_sink_1=$!; fi
if [ -z "$ha_sink_2" ]; then exec >>"$ha_file.err"; ha_sink 8 & ha_sink_2=$!; fi
exec >&5 5>&-
printf 'sink %s %s\n' 1 "$ha_sink_1" 2 "$ha_sink_2" >>"$ha_file.run"
exec 7<&- 8<&-
trap - PIPE
"""
"""Before ``ha_functions`` and ``ha_loop`` of :mod:`.follow_script`, and with their arguments."""
