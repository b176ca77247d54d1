"""What the scripts of uploads and downloads have in common. Pure; POSIX sh, of BusyBox too.

They need a shell, ``mkdir``, ``rm``, ``mv``, ``chmod``, ``cat``, ``wc`` and ``head`` or ``dd``; they make use of
``tar``, ``tee``, ``openssl``, ``sha256sum``, ``stat``, ``touch``, ``ln``, ``readlink``, ``gzip`` and ``zstd`` where the
image has them. Paths are arguments, not secrets. The remote command keeps its stdout open until it is done: a container
runtime closes an exec's stdin once the remote stdout is at its end (https://github.com/containerd/containerd/issues/13934).
"""

from __future__ import annotations

WORD = "harbor-aws:transfer:"
"""Begins each line by which a script speaks to this side."""

ROOM_PREFIX = ".harbor-aws-"
"""Begins the name of the directory beside, or within, an upload's target in which it is until it is whole."""

MISSING_EXIT_CODE = 66
"""The source is not there, or of the other kind (sysexits' EX_NOINPUT)."""
NO_TOOL_EXIT_CODE = 69
"""The image lacks what even the fallback needs (sysexits' EX_UNAVAILABLE)."""
FILES_EXIT_CODE = 74
"""The pod's files do not allow it (sysexits' EX_IOERR)."""
CUT_EXIT_CODE = 75
"""Not all arrived (sysexits' EX_TEMPFAIL)."""

LARGE_BYTES = 16 * 1024 * 1024
"""From here on OpenSSL's digest is worth the 10 ms that it takes to start: it is four times as fast as coreutils'."""

COMMON = f"""
export LC_ALL=C
exec 5>&1
fail() {{ echo "$2" >&2; exit "$1"; }}
have() {{ command -v "$1" >/dev/null 2>&1; }}
say() {{ echo "{WORD}$*"; }}
gnu=
tools=
if have tar; then
  case $(tar --version 2>/dev/null) in *GNU*) gnu=gnu ;; esac
  tools="tar $gnu"
fi
have zstd && tools="$tools zstd"
have gzip && tools="$tools gzip"

# The SHA-256 of stdin; how many bytes it has, where the image cannot tell.
digest() {{
  if [ -n "$large" ] && have openssl; then openssl dgst -sha256 -r
  elif have sha256sum; then sha256sum
  elif have openssl; then openssl dgst -sha256 -r
  else wc -c
  fi
}}

# So many bytes of stdin and no more. BusyBox's head takes more than it passes on.
if dd bs=1 count=0 iflag=fullblock status=none </dev/null 2>/dev/null; then
  exact=exact
  take() {{
    [ $(($1 / 65536)) = 0 ] || dd bs=65536 count=$(($1 / 65536)) iflag=fullblock status=none || return
    [ $(($1 % 65536)) = 0 ] || dd bs=$(($1 % 65536)) count=1 iflag=fullblock status=none
  }}
else
  exact=
  take() {{ head -c "$1"; }}
fi
tools="$tools $exact"

# What the parts of a pipeline say of themselves, in any order: code N (of the one that matters), end SIZE SHA256 (by
# this side's word), cut, broken, and the digest of what went through.
hear() {{
  code= sum= size= expected= state=
  set -f
  set -- $1
  set +f
  while [ $# -gt 0 ]; do
    case $1 in
      code) code=$2; shift ;;
      end) size=$2 expected=$3; shift 2 ;;
      cut | broken) state=$1 ;;
      -*|\\**) ;;
      *) sum=$1 ;;
    esac
    shift
  done
}}
"""


def argv(script: str, *arguments: str) -> list[str]:
    """The command for an exec that runs a script."""
    return ["sh", "-c", script, "sh", *arguments]
