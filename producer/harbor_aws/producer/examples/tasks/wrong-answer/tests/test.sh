#!/bin/bash

number=$(cat /tmp/number.txt)
divisors=0
for ((divisor = 1; divisor <= number; divisor++)); do
  ((number % divisor == 0)) && divisors=$((divisors + 1))
done

if [ "$number" -gt 2 ] && ((number % 2 == 0)) && [ "$divisors" -eq 2 ]; then
  echo 1 > /logs/verifier/reward.txt
else
  echo "$number is not it: it has $divisors divisors"
  echo 0 > /logs/verifier/reward.txt
fi
exit 1
