#!/bin/bash

verdict() {
  [ "$(id -un)" = root ] &&
    [ "$(cat /tmp/whoami.txt)" = nobody ] &&
    [ "$(stat -c %U /tmp/whoami.txt)" = nobody ] &&
    [ "$(stat -c %U /logs/artifacts/whoami.txt)" = nobody ] &&
    [ ! -e /root/written-by-the-agent ]
}

if verdict; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
