#!/bin/bash

reward=0
[ -e /tmp/progress/first ] && reward=0.5
[ -e /tmp/progress/second ] && reward=1

# A reward is only for an agent that is gone: the time is up for everything that it started.
before=$(wc -l < /tmp/progress/heartbeat)
sleep 0.5
if [ "$(wc -l < /tmp/progress/heartbeat)" != "$before" ]; then
  echo 'the agent still runs'
  reward=0
fi

echo "$reward" > /logs/verifier/reward.txt
