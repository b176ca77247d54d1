#!/bin/bash
. /tests/checks.sh

marks=0
report_has 'tuesday 30' && [ "$(sed -n 1p /tmp/review.txt)" = tuesday ] && [ "$(stat -c %U /tmp/review.txt)" = nobody ] && marks=$((marks + 1))
[ "$(sed -n 2p /tmp/review.txt)" = xyzzy ] && marks=$((marks + 1))
awk -v marks="$marks" -v full="$FULL_MARKS" 'BEGIN { print marks / full }' > /logs/verifier/reward.txt
