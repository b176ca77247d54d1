#!/bin/bash
# "reward": the share of right answers; "answered": the share of questions that have an answer, right or wrong.

correct=0
answered=0
total=0
while read -r number expected; do
  total=$((total + 1))
  answer=$(tr -d ' \n' < "answers/$number")
  [ -n "$answer" ] && answered=$((answered + 1))
  if [ "$answer" = "$expected" ]; then
    correct=$((correct + 1))
  else
    echo "question $number: '$answer' is wrong"
  fi
done < /tests/expected.txt

awk -v correct="$correct" -v answered="$answered" -v total="$total" 'BEGIN {
  printf "{\"reward\": %g, \"answered\": %g}\n", correct / total, answered / total
}' > /logs/verifier/reward.json
