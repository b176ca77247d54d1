#!/bin/sh
id -un > /tmp/whoami.txt
cp /tmp/whoami.txt /logs/artifacts/whoami.txt
if touch /root/written-by-the-agent; then
  echo 'the agent may write where only root should'
fi
