#!/bin/bash
# Judges what came through the artifacts' way: out of the agent's pod, into this one.

failures=0
check() { # DESCRIPTION ACTUAL EXPECTED
  if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "not ok: $1: got '$2', expected '$3'"; failures=$((failures + 1)); fi
}

cd /srv/odd || failures=1
long=$(printf 'long-%.0s' {1..40})
for name in 'two words' ' space at both ends ' "it's" 'say "so"' 'back\slash' $'line\nfeed' $'tab\tstop' '*?[a]' \
  '$HOME `id` ; & | > <' '-rf' '--help' '#hash' '100%' '%41' 'a+b=c' '~' 'naïve-日本語' 'CASE' 'case' '...' "$long"; do
  check "a file that holds its name" "$(cat "./$name")" "$name"
done
check 'an empty file' "$(stat -c '%F' empty)" 'regular empty file'
check 'an empty directory' "$(stat -c '%F' 'empty directory')" directory
check 'a file two directories down' "$(cat 'sub directory/deeper/file')" deep
check 'a private file' "$(cat private)" private
check 'an executable file' "$(./runnable)" ran
check 'a link to a file' "$(readlink 'link to file')" 'two words'
check 'a link to a directory' "$(readlink 'link to directory')" 'sub directory'
check 'a link to nothing' "$(readlink 'link to nothing')" nowhere

check 'a file beside a pipe and an absolute link' "$(cat /srv/rough/kept.txt)" kept
check 'an excluded file' "$(ls /srv/rough/left-out.tmp 2>/dev/null)" ''
check 'an artifact with a destination is back at its source' "$(cat '/srv/one file.txt')" one

if [ "$failures" -eq 0 ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
