#!/bin/bash
. /tests/checks.sh

if report_has 'monday 7' && report_has 'tuesday 30' && report_has 'wednesday 5'; then
  echo 1 > /logs/verifier/reward.txt
else
  echo 0 > /logs/verifier/reward.txt
fi
