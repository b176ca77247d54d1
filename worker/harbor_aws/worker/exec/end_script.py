"""The script in the pod that ends a command and all that it started. Pure; POSIX sh, of BusyBox too."""

from __future__ import annotations

from harbor_aws.worker.exec.places import CLAIM

KILL_GRACE_SECONDS = 2
"""How long a command has between TERM and KILL."""


OVER_EXIT_CODE = 9
"""The script's, if the command had ended by itself before anybody came to end it."""

# Whoever ends a command notes whom that takes, and their session, before it kills, so that another one that comes
# meanwhile, or after the first was killed, sees to it as well, and to what the command's shell left in that session as
# it died. The notes are read after each look at the processes: if the look missed the shell, they are complete.
#
# Who is killed: the command's shell, all below it, and what is left without a parent in its session. Who is spared:
# what runs the command, which is above it or leads the session, and what takes in its output; they still write down
# what was printed and the exit code. A process that made a session of its own and gave itself to pid 1 is a daemon,
# meant to outlive its command.
#
# All are stopped before any is killed: else one that makes sessions for its children is killed before its newest child
# is looked at, which then has the looks of a daemon. They go on parents before children, as they were found: a shell
# that outlived what it waits for, if only for a moment, would go on with its next line.
#
# What is above the command's shell may stop with it: `runuser` and `su` do, and go on only once they are told.
#
# A look takes a while. A process may be born after its like were listed, and its parent be gone before it is looked at:
# all are dead when two looks, one after the other, find none.
#
# Of a process, /proc/PID/stat says "PID (name) state parent group session …"; a name may hold anything, and a state of
# Z with more than one thread (the 15th word from the session on) is a process whose other threads run.
END = f"""{CLAIM}
exec 2>/dev/null
ha_claim "$1"
case $? in
  0) echo "exit 125" >>"$ha_file.run"; [ -z "$3" ]; exit ;;
  2) exit 0 ;;
esac
""" + r"""
grace=$2 pid= session= doomed= noted= ended= tries=100
while [ -z "$pid" ]; do
  while read -r key first rest; do
    case $key in
      exit) ended=1 ;;
      shell) pid=$first ;;
      doomed) doomed=1 ;;
    esac
  done <"$ha_file.run"
  [ -z "$ended" ] || [ -n "$doomed" ] || exit @OVER@
  [ -z "$pid" ] || break
  [ "$tries" -gt 0 ] || exit 1
  tries=$((tries - 1))
  doomed=
  sleep 0.1 || sleep 1
done
doomed=" $pid " spared=" 1 $$ "
look() {
  table=
  set +f
  set -- /proc/[0-9]*
  set -f
  for directory; do
    line=
    while read -r part; do line="$line $part"; done <"$directory/stat" || continue
    rest=${line##*) } p=${directory##*/}
    state=${rest%% *} rest=${rest#* }
    parent=${rest%% *} rest=${rest#* } rest=${rest#* }
    case $parent.${rest%% *} in *[!0-9.]* | .* | *.) continue ;; esac
    [ "$p" = "$pid" ] && session=${rest%% *}
    if [ "$state" = Z ]; then
      set -- $rest
      [ "${15:-1}" -gt 1 ] || continue
    fi
    table="$table $p $parent ${rest%% *}"
  done
}
learn() {
  while read -r key first rest; do
    case $key in
      doomed)
        [ "$first" = 0 ] || session=$first
        for p in $rest; do
          case $doomed in *" $p "*) ;; *) doomed="$doomed$p " ;; esac
        done
        ;;
      sink) spare "$rest" ;;
      catch) spare "$first" ;;
    esac
  done <"$ha_file.run"
}
spare() {
  case $spared in *" $1 "*) ;; *) spared="$spared$1 " ;; esac
}
descend() {
  grown=1
  while [ -n "$grown" ]; do
    grown=
    set -- $table
    while [ $# -gt 0 ]; do
      case "$doomed$spared" in *" $1 "*) ;; *) case $doomed in *" $2 "*) doomed="$doomed$1 " grown=1 ;; esac ;; esac
      shift 3
    done
  done
}
spare_above() {
  p=$pid
  while :; do
    set -- $table
    while [ $# -gt 0 ] && [ "$1" != "$p" ]; do shift 3; done
    case $2 in '' | 0 | 1) return ;; esac
    p=$2
    spare "$p"
  done
}
spare_all() {
  spare "$session"
  spare_above
  grown=1
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
  case $session in '' | 0 | 1) return ;; esac
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
  look; learn; descend; spare_all; adopt; descend; alive
  [ "$doomed" = "$noted" ] || echo "doomed ${session:-0}$living" >>"$ha_file.run"
  noted=$doomed
}
find_all() {
  find_once
  [ -n "$living" ] || find_once
}
stop_all() {
  stopped=
  while [ -n "$living" ] && [ "$living" != "$stopped" ]; do
    stopped=$living
    kill -STOP $living
    find_all
  done
}
find_all
stop_all
if [ -n "$living" ]; then
  kill -TERM $living
  kill -CONT $living
fi
deadline=$((grace * 10))
while [ -n "$living" ] && [ "$deadline" -gt 0 ]; do
  sleep 0.1 || { sleep 1; deadline=$((deadline - 9)); }
  deadline=$((deadline - 1))
  find_all
done
tries=50
while [ -n "$living" ] && [ "$tries" -gt 0 ]; do
  stop_all
  [ -z "$living" ] || kill -KILL $living
  sleep 0.1 || sleep 1
  tries=$((tries - 1))
  find_all
done
kill -CONT $spared
[ -z "$living" ]
""".replace("@OVER@", str(OVER_EXIT_CODE))


def end_argv(command_id: str, *, has_begun: bool = False) -> tuple[str, ...]:
    """The argv of an exec that ends a command, and waits until it is over; one that never began will never begin.

    It exits with 0, or with :data:`OVER_EXIT_CODE`.

    Args:
        has_begun: whether the command is known to have begun. If nothing in the pod knows of it then, somebody has
            removed its journal, and the script fails.
    """
    return ("sh", "-c", END, "sh", command_id, str(KILL_GRACE_SECONDS), "begun" if has_begun else "")
