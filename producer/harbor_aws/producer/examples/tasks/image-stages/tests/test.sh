#!/bin/bash
# Every check is a fact that one instruction of the Dockerfile establishes; the last is the answer.

failures=0
check() { # DESCRIPTION ACTUAL EXPECTED
  if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "not ok: $1: got '$2', expected '$3'"; failures=$((failures + 1)); fi
}

check 'USER' "$(id -un)" reader
check 'relative WORKDIR' "$(pwd)" /home/reader/desk
check 'ENV' "$DICTIONARY" /opt/dictionary/sorted
check 'ENV with spaces' "$DICTIONARY_TITLE" 'Words of the sea'
check 'COPY --from a stage that ran a command' "$(cat /opt/dictionary/count)" 8
check 'ARG in a destination' "$(stat -c %a /usr/local/bin/lookup)" 755
check 'COPY --chown' "$(stat -c %U:%G note.txt)" reader:reader
check 'stages leave nothing behind' "$(ls -d /words /tools 2>/dev/null)" ''
check 'the answer' "$(tr -d ' ' < answer.txt)" 3

if [ "$failures" -eq 0 ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
