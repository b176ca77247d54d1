"""The shell scripts of transfers. Pure; POSIX sh, of BusyBox too.

Paths are arguments, not secrets. The remote command keeps its stdout open until it is done: a container runtime closes
an exec's stdin once the remote stdout is at its end (https://github.com/containerd/containerd/issues/13934).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGE_DIRECTORY = "/tmp/.harbor-aws"  # noqa: S108 - in the pod
"""Where transfers are staged in the pod, readable for root alone."""

REPORT = "harbor-aws:transfer:"
"""Begins the line by which the pod reports: size, SHA-256 (``-`` where the image cannot tell), mode."""

MISSING_EXIT_CODE = 66
"""The source is not there, or of the other kind (sysexits' EX_NOINPUT)."""

NO_TAR_EXIT_CODE = 69
"""The image has no tar (sysexits' EX_UNAVAILABLE)."""

_COMMON = rf"""
umask 077
stage={STAGE_DIRECTORY}/$1
fail() {{ echo "$2" >&2; exit "$1"; }}
mkdir -p {STAGE_DIRECTORY} && chmod 711 {STAGE_DIRECTORY} || exit 73
trap 'rm -f "$stage" "$stage.names"' EXIT
trap 'exit 143' TERM HUP
need_tar() {{ command -v tar >/dev/null 2>&1 || fail {NO_TAR_EXIT_CODE} "the image has no tar"; }}
report() {{
  size=$(wc -c <"$stage") && size=$((size))
  if command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum <"$stage"); sum=${{sum%% *}}; else sum=-; fi
  echo "{REPORT}$size $sum $1"
}}
"""

_RECEIVE = r"""
head -c "$2" >"$stage" || exit 74
report -
"""

_UPLOAD_TAR = (
    _COMMON
    + r"""
need_tar
"""
    + _RECEIVE
    + r"""
umask 022
[ "$size" = "$2" ] && mkdir -p -- "$3" && tar -xf "$stage" -C "$3"
"""
)

_UPLOAD_FILE = (
    _COMMON
    + _RECEIVE
    + r"""
umask 022
target=$3
case $target in
  */) target=$target$4 ;;
  *) [ -d "$target" ] && target=$target/$4 ;;
esac
parent=${target%/*}
[ "$size" = "$2" ] && mkdir -p -- "${parent:-/}" && chmod "$5" "$stage" && mv -f -- "$stage" "$target"
"""
)

# Nobody may be left to read it: then this process waits, but its file has no name any more.
_SEND = r"""
exec 3<"$stage" && rm -f "$stage" && cat <&3
"""

_DOWNLOAD_FILE = (
    _COMMON
    + rf"""
[ -e "$2" ] || fail {MISSING_EXIT_CODE} "there is no file $2"
[ -d "$2" ] && fail {MISSING_EXIT_CODE} "$2 is a directory"
[ -f "$2" ] || fail {MISSING_EXIT_CODE} "$2 is no regular file"
mode=644; [ -x "$2" ] && mode=755
cat -- "$2" >"$stage" || exit 74
report $mode
"""
    + _SEND
)

# GNU tar says 1 when a file changed while it was read, which is no reason to lose the others; BusyBox's says 1 for all.
_DOWNLOAD_TAR = (
    _COMMON
    + rf"""
need_tar
[ -d "$2" ] || fail {MISSING_EXIT_CODE} "there is no directory $2"
source=$2 names=$3
shift 3
if [ "$names" -gt 0 ]; then
  head -c "$names" >"$stage.names" || exit 74
  tar -cf "$stage" -C "$source" -T "$stage.names"
else
  tar -cf "$stage" "$@" -C "$source" .
fi
code=$?
[ "$code" = 0 ] || {{ [ "$code" = 1 ] && tar --version 2>/dev/null | grep -q GNU; }} || exit 74
report -
"""
    + _SEND
)


def upload_tar_argv(stage: str, *, size: int, target: str) -> list[str]:
    """Reads ``size`` bytes of tar from stdin, reports, and unpacks them into the directory ``target``."""
    return _argv(_UPLOAD_TAR, stage, str(size), target)


def upload_file_argv(stage: str, *, size: int, target: str, name: str, mode: int) -> list[str]:
    """Reads ``size`` bytes from stdin, reports, and moves them to ``target``, or to ``name`` in it if a directory."""
    return _argv(_UPLOAD_FILE, stage, str(size), target, name, f"{mode:o}")


def download_file_argv(stage: str, *, source: str) -> list[str]:
    """Reports a file, then writes it."""
    return _argv(_DOWNLOAD_FILE, stage, source)


def download_tar_argv(stage: str, *, source: str, exclude: Sequence[str] = (), names_size: int = 0) -> list[str]:
    """Reports a directory's tar, then writes it.

    Args:
        exclude: patterns for ``tar --exclude``.
        names_size: if not 0, only what is named on stdin, one path a line, of so many bytes in all.
    """
    return _argv(_DOWNLOAD_TAR, stage, source, str(names_size), *(f"--exclude={pattern}" for pattern in exclude))


def _argv(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]
