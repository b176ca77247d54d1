#!/bin/sh
sort -k 2 -n -r report.txt | head -n 1 | cut -d ' ' -f 1 > /tmp/review.txt
