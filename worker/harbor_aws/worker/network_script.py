"""The script in the pod that tries to get out of it. Pure; POSIX sh, of BusyBox too.

It first says what of the network there is to be seen. A pod that has nothing but a loopback interface on which nobody
listens has no network, and needs no tool to prove it; where somebody listens it may be that of a machine, whose
programs are to be reached there. In any other pod it tries every place that it is told, at the same
time, by the first program of the image that shows that it can: whoever is refused at a port of the pod's own where
nobody listens has been at the network, where "not found" or "not supported" has not. A wget is of no use for this: it
does not tell a connection that is never answered from one that is never made. Each says so before it tries, for one
that is killed too soon is not to be taken for one without an answer; and, but for nc, once it has an address to try,
for a name server that answers is a way out where nothing else does. IPv6 is tried only where it leads somewhere, for
images have programs that know nothing of it.

What comes of it is said in lines, :mod:`.network_report` reads them:

    interfaces lo eth0              names, of /proc/net/dev
    ipv6 0                          interfaces' addresses from which IPv6 leads somewhere, of /proc/net/if_inet6
    listening 3                     TCP sockets that listen, of /proc/net/tcp and tcp6
    tool bash                       who tries; ``none`` if nobody can, ``late`` if one did not tell in time
    connect 1.1.1.1 443 137 …       exit code and what was printed, one line a place
    resolve example.com getent 2 …  who tried, exit code and what was printed
    done
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from harbor_aws.worker.network_address import needs_ipv6_route

if TYPE_CHECKING:
    from collections.abc import Sequence

HAS_ADDRESS = "has an address"
"""What is printed once a name is resolved."""

TRY_SECONDS = 5
"""How long an attempt may take, the start of its program included. A connection takes milliseconds inside of a region,
0.3 s across the world, and one second more if its first packet is lost (RFC 6298)."""

_CLOSED_PORT = 9
"""*discard*, at which nobody listens in a container."""

_SEEN = r"""
export LC_ALL=C
seen= listening=0 routed=0
{ read -r _; read -r _; while read -r line; do seen="$seen ${line%%:*}"; done; } </proc/net/dev
for file in /proc/net/tcp /proc/net/tcp6; do
  [ -r "$file" ] || continue
  while read -r _ _ _ state _; do [ "$state" != 0A ] || listening=$((listening + 1)); done <"$file"
done
if [ -r /proc/net/if_inet6 ]; then
  while read -r _ _ _ scope _ name; do
    case "$name:$scope" in lo:* | *:10 | *:20) ;; *) routed=$((routed + 1)) ;; esac
  done </proc/net/if_inet6
fi
echo "interfaces${seen:- unknown}"
echo "ipv6 $routed"
echo "listening $listening"
"""
"""The scopes of addresses of IPv6 are 10 for the host's and 20 for the link's."""

_TOOLS = r"""
by_python3() { exec python3 -c "$python" "$@"; }
by_python() { exec python -c "$python" "$@"; }
python='import socket, sys
print("trying")
sys.stdout.flush()
try:
    socket.getaddrinfo(sys.argv[1], int(sys.argv[2]))
    print("@HAS_ADDRESS@")
    sys.stdout.flush()
    socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    print("reached")
except Exception as error:
    print(repr(error))'
by_perl() { exec perl -MSocket=getaddrinfo,SOCK_STREAM -e "$perl" "$@"; }
perl='$| = 1; print "trying ";
my ($error, @places) = getaddrinfo($ARGV[0], $ARGV[1], {socktype => SOCK_STREAM});
print @places ? "@HAS_ADDRESS@ " : "getaddrinfo: $error ";
for my $place (@places) {
  my $socket;
  my $made = socket($socket, $place->{family}, SOCK_STREAM, 0) && connect($socket, $place->{addr});
  print $made ? "reached " : "$! ";
}'
by_bash() { exec bash -c "$bash" "$@"; }
bash='echo trying
{ echo @HAS_ADDRESS@; } 3<>"/dev/udp/$0/$1"
exec 3<>"/dev/tcp/$0/$1" && echo reached'
by_busybox_nc() { echo trying; exec nc "$1" "$2" -e sh -c 'echo reached >&3' 3>&1; }
by_nc() { exec sh -c 'echo trying; nc -v -z -w @SOONER@ "$0" "$1" && echo reached' "$@"; }
by_curl() {
  host=$1; case "$host" in *:*) host="[$host]" ;; esac
  exec curl -sv --connect-timeout @SOONER@ --noproxy '*' -o /dev/null -w 'after=%{time_connect}' "http://$host:$2/"
}
"""
"""Perl's getaddrinfo knows IPv6 and is in the smallest of its packages, from 5.14 (2011); to connect a UDP socket, as
bash can, sends nothing. nc and curl wait a second less than they are given, to say themselves whom they waited for."""

_TRYING = r"""
limited() {
  "$@" </dev/null 2>&1 &
  trying=$!
  { sleep @SECONDS@; kill -9 $trying; } >/dev/null 2>&1 &
  watching=$!
  wait $trying 2>/dev/null
  code=$?
  kill $watching 2>/dev/null
  return $code
}
attempt() {
  what=$1; shift
  said=$(limited "$@")
  code=$?
  set -f
  IFS=$(printf ' \t\n\r')
  echo $what $code $said
}
tool=none
for each in python3 python perl bash busybox_nc nc curl; do
  command -v "${each#busybox_}" >/dev/null 2>&1 || continue
  said=$(limited "by_$each" 127.0.0.1 @CLOSED_PORT@)
  [ $? != 137 ] || tool=late
  case "$said" in *refused* | *reached*) tool=$each; break ;; esac
done
echo "tool $tool"
can_try() { case $tool in none | late) return 1 ;; esac }
"""

_RESOLVING = r"""
if limited getent hosts localhost >/dev/null; then
  attempt "resolve $name getent" getent hosts "$name" &
elif can_try; then
  attempt "resolve $name $tool" "by_$tool" "$name" 443 &
fi
"""


def network_script(places: Sequence[tuple[str, int]], *, name: str, try_seconds: int = TRY_SECONDS) -> str:
    """What a POSIX shell runs to try to reach every one of ``places``, by address and port, and to resolve ``name``.

    Args:
        try_seconds: how long an attempt may take.
    """
    attempts = [_attempt(host, port) for host, port in places]
    text = "\n".join(
        [
            _SEEN,
            '[ "$seen $listening" != " lo 0" ] || { echo done; exit 0; }',
            _TOOLS,
            _TRYING,
            "if can_try; then",
            *attempts,
            "fi",
            f"name={shlex.quote(name)}",
            _RESOLVING,
            "wait",
            "echo done",
        ]
    )
    values = {
        "SECONDS": try_seconds,
        "SOONER": max(1, try_seconds - 1),
        "CLOSED_PORT": _CLOSED_PORT,
        "HAS_ADDRESS": HAS_ADDRESS,
    }
    for name_of_value, value in values.items():
        text = text.replace(f"@{name_of_value}@", str(value))
    return text


def _attempt(host: str, port: int) -> str:
    line = f'attempt "connect {host} {port}" "by_$tool" {shlex.quote(host)} {port} &'
    return f'[ "$routed" = 0 ] || {line}' if needs_ipv6_route(host) else line
