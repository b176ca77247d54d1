"""The script that gives a download out. Pure; POSIX sh, of BusyBox too.

On stdout: a line ``sending FORMAT COMPRESSION FILTERED MODE MTIME``, then nothing but the bytes. On stderr, at the end:
``sent DIGEST``, of what was written behind that line. Nothing is staged in the pod unless it has no ``tee``.

Formats: ``file``, the content of one file; ``tar``; ``list``, what a shell can tell, for images without tar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.worker.transfer.scripts import COMMON, FILES_EXIT_CODE, LARGE_BYTES, MISSING_EXIT_CODE, argv

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST_END = b"."
"""Stands behind each file's content in a list, to show that the file was as long as it said."""

_SEND = rf"""
large=large
choose() {{
  squeeze=none
  for one in $1; do have "$one" && squeeze=$one && break; done
}}

squeezed() {{
  case $squeeze in
    gzip) "$@" | gzip -1c ;;
    zstd) "$@" | zstd -1cq ;;
    *) "$@" ;;
  esac
}}

coded() {{ "$@"; echo "code $?" >&6; }}

send() {{
  if have tee; then
    hear "$({{ {{ squeezed coded "$@" | tee /proc/self/fd/4 >&5; }} 4>&1 | digest; }} 6>&1)"
  else
    umask 077
    stage=/tmp/.harbor-aws-$id-$$
    trap 'rm -f "$stage" "$stage.said"' EXIT
    trap 'exit 143' TERM HUP INT PIPE
    squeezed coded "$@" 6>"$stage.said" >"$stage" || exit {FILES_EXIT_CODE}
    hear "$(cat "$stage.said") $(digest <"$stage")"
    exec 3<"$stage"
    rm -f "$stage" "$stage.said"
    cat <&3 >&5
  fi
  [ "${{code:-1}}" -gt 128 ] && exit "$code"
  [ "$code" = 0 ] || {{ [ "$code" = 1 ] && [ -n "$gnu" ]; }} || exit {FILES_EXIT_CODE}
  say sent "$sum" >&2
}}

# Mode, time and size of a file.
facts() {{
  if have stat; then set -- $(stat -L -c '%a %Y %s %b %B' "$1"); else set --; fi
  mode=${{1:--}} mtime=${{2:--}} size=$3 blocks=$(( ${{4:-0}} * ${{5:-0}} ))
}}
"""

_FILE = rf"""
id=$1 source=$2 steady=$4
[ -e "$source" ] || fail {MISSING_EXIT_CODE} "there is no file $source"
[ -d "$source" ] && fail {MISSING_EXIT_CODE} "$source is a directory"
[ -f "$source" ] || fail {MISSING_EXIT_CODE} "$source is no regular file"
[ -r "$source" ] || fail {FILES_EXIT_CODE} "$source cannot be read"
choose "$3"
case $source in -*) source=./$source ;; esac
facts "$source"
if [ "$mode" = - ]; then mode=644; [ -x "$source" ] && mode=755; fi
[ "${{size:-{LARGE_BYTES}}}" -lt {LARGE_BYTES} ] && large=
whole() {{ cat "$source"; }}
with_holes() {{
  case $source in */*) cd "${{source%/*}}/" || return ;; esac
  tar -b 128 --format=gnu -S -h -cf - "./${{source##*/}}"
}}
if [ -n "$gnu" ] && [ "${{size:-0}}" -gt "$blocks" ]; then
  say sending tar $squeeze whole $mode $mtime
  send with_holes
else
  say sending file $squeeze whole $mode $mtime
  if [ -n "$large" ] && [ -n "$steady" ] && [ $squeeze = none ] && have openssl; then
    hear "$({{ openssl dgst -sha256 -r <"$source" & cat "$source" >&5; echo "code $?"; wait; }})"
    [ "$code" = 0 ] || exit {FILES_EXIT_CODE}
    say sent "$sum" >&2
  elif [ $squeeze = none ] && have tee; then
    hear "$({{ {{ tee /proc/self/fd/4 <"$source" >&5; echo "code $?" >&6; }} 4>&1 | digest; }} 6>&1)"
    [ "$code" = 0 ] || exit {FILES_EXIT_CODE}
    say sent "$sum" >&2
  else
    send whole
  fi
fi
"""

# GNU tar says 1 when a file changed while it was read, which is no reason to lose the others; BusyBox's says 1 for all.
# Several archives, of xargs, follow one another and are read as one.
_DIRECTORY = rf"""
id=$1 source=$2 names=$4
[ -d "$source" ] || fail {MISSING_EXIT_CODE} "there is no directory $source"
case $source in -*) source=./$source ;; esac
choose "$3"
shift 4
walk() {{
  for entry in * .[!.]* ..?*; do
    if [ -L "$entry" ]; then
      have readlink || continue
      link=$(readlink "./$entry" && echo .) && printf 'l - - 0 %s\0%s\0' "$1$entry" "${{link%??}}"
    elif [ -d "$entry" ]; then
      facts "./$entry"
      printf 'd %s %s 0 %s\0' "$mode" "$mtime" "$1$entry"
      (cd "./$entry" && walk "$1$entry/") || return
    elif [ -f "$entry" ]; then
      facts "./$entry"
      if [ "$mode" = - ]; then mode=644; [ -x "./$entry" ] && mode=755; fi
      size=$(wc -c <"./$entry") || return
      printf 'f %s %s %s %s\0' "$mode" "$mtime" "$((size))" "$1$entry"
      head -c "$((size))" <"./$entry" && printf .
    fi || return
  done
  return 0
}}
listed() {{ cd "$source" && walk ""; }}
if [ -n "$gnu" ]; then
  packed() {{
    if [ "$names" = 0 ]; then tar -b 128 --format=gnu -S -cf - "$@" -C "$source" .
    else take "$names" | tar -b 128 --format=gnu -S -cf - "$@" -C "$source" --null -T -
    fi
  }}
  format=tar filtered=filtered
elif have tar && [ "$names" = 0 ]; then
  packed() {{ tar -cf - -C "$source" .; }}
  format=tar filtered=whole
elif have tar && have xargs && xargs -0 true </dev/null 2>/dev/null; then
  packed() {{ cd "$source" && take "$names" | xargs -0 tar -cf -; }}
  format=tar filtered=filtered
elif have tar; then
  packed() {{ tar -cf - -C "$source" .; }}
  format=tar filtered=whole
else
  packed() {{ listed; }}
  format=list filtered=whole
fi
say sending $format $squeeze $filtered - -
send packed "$@"
"""


def download_file_argv(
    transfer_id: str, *, source: str, compression: Iterable[str] = (), steady: bool = False
) -> list[str]:
    """Gives out a file.

    Args:
        compression: programs by which it may be compressed, best first.
        steady: a large file is read once to be sent and once to be digested, at the same time, which is faster than
            ``tee``; if it changes meanwhile the digest does not agree.
    """
    return argv(COMMON + _SEND + _FILE, transfer_id, source, " ".join(compression), "steady" if steady else "")


def download_directory_argv(
    transfer_id: str,
    *,
    source: str,
    compression: Iterable[str] = (),
    exclude: Iterable[str] = (),
    names_size: int = 0,
) -> list[str]:
    """Gives out a directory's contents.

    Args:
        compression: programs by which it may be compressed, best first.
        exclude: patterns of what is left out, as ``tar --exclude`` has them.
        names_size: if not 0, only what is named on stdin, each name behind a ``./`` and before a NUL, of so many bytes
            in all.
    """
    patterns = [f"--exclude={pattern}" for pattern in exclude]
    return argv(COMMON + _SEND + _DIRECTORY, transfer_id, source, " ".join(compression), str(names_size), *patterns)
