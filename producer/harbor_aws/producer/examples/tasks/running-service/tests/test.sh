#!/bin/bash
# The answer, and that the service still answers.

echo 7 > /tmp/squares/request
for _ in {1..40}; do
  grep -qx 49 /tmp/squares/answers && break
  sleep 0.05
done

if [ "$(cat /tmp/answer.txt)" = 144 ] && grep -qx 49 /tmp/squares/answers; then
  echo 1 > /logs/verifier/reward.txt
else
  echo 0 > /logs/verifier/reward.txt
fi
