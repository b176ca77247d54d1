#!/bin/sh
for file in inbox/*.txt; do
  day=${file#inbox/}
  echo "${day%.txt} $(awk '{ sum += $1 } END { print sum }' "$file")"
done > report.txt
