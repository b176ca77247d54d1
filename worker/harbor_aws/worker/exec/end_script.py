"""The script in the pod that ends a command and all that it started. Pure; POSIX sh, of BusyBox too."""

from __future__ import annotations

from harbor_aws.worker.exec.places import CLAIM

KILL_GRACE_SECONDS = 2
"""How long a command has between TERM and KILL."""


# Whoever ends a command notes whom that takes, and their session, before it kills, so that another one that comes
# meanwhile, or after the first was killed, sees to it as well, and to what the command's shell left in that session as
# it died. The notes are read after each look at the processes: if the look missed the shell, they are complete.
#
# Who is killed: the command's shell, all below it, and what is left without a parent in its session. Who is spared:
# what runs the command, which is above it or leads the session, and what takes in its output; they still write down
# what was printed and the exit code. A process that made a session of its own and gave itself to pid 1 is a daemon,
# meant to outlive its command.
#
# In which order: parents before children, as they were found. A shell that outlived what it waits for, if only for a
# moment, would go on with its next line.
#
# A look takes a while. A process may be born after its like were listed, and its parent be gone before it is looked at:
# all are dead when two looks, one after the other, find none.
END = (
    f"""{CLAIM}
exec 2>/dev/null
ha_claim "$1"
case $? in
  0) echo "exit 125" >>"$ha_file.run"; exit 0 ;;
  2) exit 0 ;;
esac
"""
    + r"""
grace=$2 pid= sinks= session= doomed= noted= ended= tries=100
while [ -z "$pid" ]; do
  while read -r key first rest; do
    case $key in
      exit) ended=1 ;;
      shell) pid=$first ;;
      sink) sinks="$sinks$rest " ;;
      doomed) doomed=1 ;;
    esac
  done <"$ha_file.run"
  [ -z "$ended" ] || [ -n "$doomed" ] || exit 0
  [ -z "$pid" ] || break
  [ "$tries" -gt 0 ] || exit 1
  tries=$((tries - 1))
  sinks= doomed=
  sleep 0.1 || sleep 1
done
doomed=" $pid " spared=" 1 $$ $sinks"
look() {
  table=
  for f in /proc/[0-9]*/stat; do
    read -r line <"$f" || continue
    p=${line%% *} rest=${line##*) }
    state=${rest%% *} rest=${rest#* }
    parent=${rest%% *} rest=${rest#* } rest=${rest#* }
    [ "$p" = "$pid" ] && session=${rest%% *}
    [ "$state" = Z ] && continue
    table="$table $p $parent ${rest%% *}"
  done
}
learn() {
  while read -r key first rest; do
    [ "$key" = doomed ] || continue
    [ "$first" = 0 ] || session=$first
    for p in $rest; do
      case $doomed in *" $p "*) ;; *) doomed="$doomed$p " ;; esac
    done
  done <"$ha_file.run"
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
above() {
  p=$pid
  while :; do
    set -- $table
    while [ $# -gt 0 ] && [ "$1" != "$p" ]; do shift 3; done
    case $2 in ''|0|1) return ;; esac
    p=$2 spared="$spared$p "
  done
}
spare() {
  spared="$spared$session " grown=1
  above
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
  living= there=" "
  set -- $table
  while [ $# -gt 0 ]; do
    there="$there$1 "
    shift 3
  done
  for p in $doomed; do
    case $there in *" $p "*) living="$living $p" ;; esac
  done
}
find_once() {
  look; learn; descend; spare; adopt; descend; alive
  [ "$doomed" = "$noted" ] || echo "doomed ${session:-0}$living" >>"$ha_file.run"
  noted=$doomed
}
find_all() {
  find_once
  [ -n "$living" ] || find_once
}
find_all
[ -n "$living" ] && kill -TERM $living
deadline=$((grace * 10))
while [ -n "$living" ] && [ "$deadline" -gt 0 ]; do
  sleep 0.1 || { sleep 1; deadline=$((deadline - 9)); }
  deadline=$((deadline - 1))
  find_all
done
tries=50
while [ -n "$living" ] && [ "$tries" -gt 0 ]; do
  kill -KILL $living
  sleep 0.1 || sleep 1
  tries=$((tries - 1))
  find_all
done
[ -z "$living" ]
"""
)


def end_argv(command_id: str) -> tuple[str, ...]:
    """The argv of an exec that ends a command, and waits until it is over; one that never began will never begin."""
    return ("sh", "-c", END, "sh", command_id, str(KILL_GRACE_SECONDS))
