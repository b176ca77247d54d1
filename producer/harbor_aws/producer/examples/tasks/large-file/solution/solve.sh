#!/bin/sh
cd /logs/artifacts
head -c 67108864 /dev/urandom > large.bin
sha256sum large.bin > large.bin.sha256
