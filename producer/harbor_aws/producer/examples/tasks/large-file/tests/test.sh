#!/bin/bash
cd /logs/artifacts

if [ "$(stat -c %s large.bin)" = 67108864 ] && sha256sum --check large.bin.sha256; then
  echo 1 > /logs/verifier/reward.txt
else
  echo 0 > /logs/verifier/reward.txt
fi
