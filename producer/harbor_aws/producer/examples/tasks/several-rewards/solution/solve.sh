#!/bin/bash
set -e
mkdir -p answers
cat logs/*.log | wc -l > answers/1
cat logs/*.log | awk '$4 >= 500' | wc -l > answers/2
cat logs/*.log | cut -d ' ' -f 1 | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }' > answers/3
cat logs/*.log | awk '{ sum += $5 } END { print sum }' > answers/4
echo 'ask again tomorrow' > answers/5
