#!/bin/sh
# Squares the numbers that come through a named pipe, until the container ends.
mkdir -p /tmp/squares
mkfifo /tmp/squares/request
: > /tmp/squares/answers
sleep 0.3
exec 3<> /tmp/squares/request # open for writing too, so that a writer that leaves is not the end
touch /tmp/squares/ready
while read -r number <&3; do
  echo $((number * number)) >> /tmp/squares/answers
done
