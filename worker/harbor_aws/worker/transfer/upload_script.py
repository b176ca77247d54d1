"""The script that takes an upload in. Pure; POSIX sh, of BusyBox too.

It says ``ready`` and what the image has, reads a line that says in what format the rest comes, reads frames, and puts
what they hold into a directory of its own beside the target (or in it, if the target is a directory that exists).
When size and SHA-256 agree it moves that to its place, and says ``done``.

Formats: ``file``, the content of one file; ``tar``; ``list``, lines for a shell to follow, for images without tar.
"""

from __future__ import annotations

from harbor_aws.worker.transfer.scripts import (
    COMMON,
    CUT_EXIT_CODE,
    FILES_EXIT_CODE,
    NO_TOOL_EXIT_CODE,
    ROOM_PREFIX,
    argv,
)

# The pid in the name: an exec whose answer was lost is asked for again, and then two of this script run.
_ROOM = rf"""
umask 022
id=$1 kind=$2 target=$3 name=$4 large=$5
while :; do case $target in */) target=${{target%/}} into=1 ;; *) break ;; esac; done
[ -n "$target" ] || target=/
parent_of() {{ case $1 in */*) parent=${{1%/*}}; parent=${{parent:-/}} ;; *) parent=. ;; esac; }}
case $kind in
  file)
    [ -n "$into" ] || [ -d "$target" ] && target=${{target%/}}/$name
    [ -d "$target" ] && fail {FILES_EXIT_CODE} "$target is a directory"
    parent_of "$target" ;;
  directory)
    if [ -d "$target" ]; then parent=$target
    elif [ -e "$target" ] || [ -L "$target" ]; then fail {FILES_EXIT_CODE} "$target is no directory"
    else parent_of "$target"
    fi ;;
esac
case $parent in -*) parent=./$parent ;; esac
case $target in -*) target=./$target ;; esac
room=${{parent%/}}/{ROOM_PREFIX}$id-$$
trap 'rm -rf "$room"' EXIT
trap 'exit 143' TERM HUP INT PIPE
mkdir -p "$parent" && mkdir -m 700 "$room" && mkdir "$room/tree" || exit {FILES_EXIT_CODE}
say ready $tools
IFS=' ' read -r format squeeze mode mtime || exit {CUT_EXIT_CODE}
"""

_RECEIVE = r"""
receive() {
  while [ -n "$exact" ] || say go >&5; read -r word size sum; do
    case $word in
      end) echo "end $size $sum" >&6; return ;;
      '' | *[!0-9]*) break ;;
      *) take "$word" || { echo broken >&6; return; } ;;
    esac
  done
  echo cut >&6
}

unpack() {
  case $format in
    file) cat >"$room/tree/file" ;;
    tar) if [ -n "$gnu" ]; then tar -b 128 -xpof - -C "$room/tree"; else tar -xpof - -C "$room/tree"; fi ;;
    list) follow ;;
  esac
}

expand() {
  case $squeeze in
    gzip) { gzip -dc || echo broken >&6; } | unpack ;;
    zstd) { zstd -dcq || echo broken >&6; } | unpack ;;
    *) unpack ;;
  esac
}

# A line: what it is, mode, time, size, name and link, the last two with their odd bytes as octal numbers.
follow() (
  cd "$room/tree" || exit
  while read -r kind mode mtime size name link; do
    name=$(printf '%b.' "$name") && name=./${name%.}
    link=$(printf '%b.' "$link") && link=${link%.}
    case $kind in
      f) take "$size" >"$name" ;;
      d) mkdir -p "$name" ;;
      p) mkdir -p "$name"; continue ;;
      l) ln -s -- "$link" "$name" || exit; continue ;;
      h) ln "./$link" "$name" || exit; continue ;;
      *) exit 1 ;;
    esac || exit
    chmod "$mode" "$name" || exit
    have touch && touch -d "@$mtime" "$name" 2>/dev/null
  done
  exit 0
)
"""

# Why a `tee` to /proc/self/fd: a pipe that this shell made may be opened so by whoever runs it, and costs no file.
# Why none where there is OpenSSL: its digest of the file afterwards takes less than `tee` does.
_TAKE_IN = rf"""
if ! have tee || {{ [ "$format" = list ]; }}; then
  {{
    receive >"$room/wire"
    expand <"$room/wire" >&2
    echo "code $?" >&6
  }} 6>"$room/said"
  hear "$(cat "$room/said") $(digest <"$room/wire")"
elif [ "$format $squeeze $large" = "file none large" ] && have openssl; then
  receive >"$room/tree/file" 6>"$room/said"
  hear "code $? $(cat "$room/said") $(openssl dgst -sha256 -r <"$room/tree/file")"
elif [ "$format $squeeze" = "file none" ]; then
  hear "$({{ {{ receive | {{ tee "$room/tree/file"; echo "code $?" >&6; }}; }} | digest; }} 6>&1)"
else
  hear "$({{ {{ receive | tee /proc/self/fd/4 | {{ expand >&2; echo "code $?" >&6; }}; }} 4>&1 >&2 | digest; }} 6>&1)"
fi
[ "$state" = cut ] && fail {CUT_EXIT_CODE} "the stream was cut"
[ "${{code:-1}}" -gt 128 ] && exit "$code"
[ "$code" = 0 ] && [ -z "$state" ] || exit {FILES_EXIT_CODE}
case $sum in
  "$expected" | "$size") ;;
  *) fail {CUT_EXIT_CODE} "$size bytes of SHA-256 $expected were to come, and $sum came" ;;
esac
"""

# Within a directory that is there, every file appears whole, one after the other; what is of another kind than what
# comes is replaced, unless it is a directory that has something in it.
_PUT = rf"""
merge() (
  from=$1 into=$2
  set --
  for entry in "$from"/* "$from"/.[!.]* "$from"/..?*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    place=$into/${{entry##*/}}
    if [ -d "$entry" ] && [ ! -L "$entry" ]; then
      if [ -d "$place" ] && [ ! -L "$place" ]; then
        merge "$entry" "$place" || exit
        have stat && chmod "$(stat -c %a "$entry")" "$place"
        have touch && touch -r "$entry" "$place"
        continue
      fi
      [ -e "$place" ] || [ -L "$place" ] && {{ rm -f "$place" || exit; }}
    elif [ -d "$place" ] && [ ! -L "$place" ]; then
      rmdir "$place" || exit
    fi
    set -- "$@" "$entry"
    [ $# -lt 200 ] || {{ mv -f -- "$@" "$into/" && set -- || exit; }}
  done
  [ $# = 0 ] || mv -f -- "$@" "$into/"
)
case $kind in
  file)
    [ "$format" != file ] || {{
      chmod "$mode" "$room/tree/file" || exit {FILES_EXIT_CODE}
      have touch && touch -d "@$mtime" "$room/tree/file" 2>/dev/null
    }}
    mv -f "$room/tree/file" "$target" ;;
  directory)
    if [ -d "$target" ]; then merge "$room/tree" "${{target%/}}"; else mv "$room/tree" "$target"; fi ;;
esac || exit {FILES_EXIT_CODE}
say "done $sum"
"""

_NEEDED = rf"""
[ -n "$exact" ] || have head || fail {NO_TOOL_EXIT_CODE} "the image has no head, and no dd with iflag=fullblock"
"""

_UPLOAD = COMMON + _NEEDED + _ROOM + _RECEIVE + _TAKE_IN + _PUT


def upload_file_argv(transfer_id: str, *, target: str, name: str, large: bool) -> list[str]:
    """Takes in what becomes the file ``target``, or the file ``name`` in it if that is a directory."""
    return argv(_UPLOAD, transfer_id, "file", target, name, "large" if large else "")


def upload_directory_argv(transfer_id: str, *, target: str) -> list[str]:
    """Takes in what is put into the directory ``target``."""
    return argv(_UPLOAD, transfer_id, "directory", target, "", "large")
