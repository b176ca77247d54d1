#!/bin/sh
echo 12 > /tmp/squares/request
until [ -s /tmp/squares/answers ]; do sleep 0.05; done
head -n 1 /tmp/squares/answers > /tmp/answer.txt
