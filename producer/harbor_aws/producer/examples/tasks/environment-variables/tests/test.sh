#!/bin/bash

failures=0
check() { # DESCRIPTION ACTUAL EXPECTED
  if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "not ok: $1: got '$2', expected '$3'"; failures=$((failures + 1)); fi
}
agent() { cat "/tmp/variables/EXAMPLE_$1" 2>/dev/null || echo 'no such variable'; }

check plain "$(agent PLAIN)" plain
check quotes "$(agent QUOTED)" "two  spaces, 'single' and \"double\" quotes"
check 'characters of the shell' "$(agent SHELL)" '$HOME `id` $(id) \ ; & | * ~ # %s'
check 'equals signs' "$(agent EQUALS)" a=b=c
check 'two lines' "$(agent LINES)" $'first line\nsecond line'
check unicode "$(agent UNICODE)" 'naïve 日本語'
check 'empty, but set' "$(agent EMPTY)" ''
check 'the default, or what the host has' "$(agent DEFAULTED)" "$EXAMPLE_DEFAULTED"
check 'the default is not the template' "${EXAMPLE_DEFAULTED#\$\{}" "$EXAMPLE_DEFAULTED"
check "the solution's" "$(agent SOLUTION)" 'only the reference solution has this'
check "the solution's is not here" "${EXAMPLE_SOLUTION-unset}" unset
check "the verifier's" "$EXAMPLE_VERIFIER" 'only the verifier has this'
check "the verifier's was not there" "$(agent VERIFIER)" 'no such variable'
check 'overridden for the verifier' "$EXAMPLE_OVERRIDDEN" "the verifier's"
check 'not overridden for the agent' "$(agent OVERRIDDEN)" "the environment's"

if [ "$failures" -eq 0 ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
