#!/bin/bash
# Runs in an image of its own: only the artifact came along, not the numbers it was made from.

if [ "$(cat /app/answer.txt)" = "$(cat "$EXPECTED_FILE")" ] && [ ! -e /app/numbers.txt ] && [ ! -e /solution ]; then
  echo 1 > /logs/verifier/reward.txt
else
  echo 0 > /logs/verifier/reward.txt
fi
