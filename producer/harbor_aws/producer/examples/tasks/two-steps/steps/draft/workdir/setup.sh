#!/bin/bash
# Runs in the working directory before the agent does.
set -e
mkdir -p inbox
while read -r day number; do
  echo "$number" >> "inbox/$day.txt"
done < measurements.txt
rm measurements.txt
