#!/bin/sh
echo 4 > /tmp/number.txt
echo 'four is even; it is the best that can be done' >&2
exit 1
