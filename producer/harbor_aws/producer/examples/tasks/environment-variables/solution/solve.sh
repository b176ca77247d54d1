#!/bin/bash
mkdir -p /tmp/variables
for name in "${!EXAMPLE_@}"; do
  printf '%s' "${!name}" > "/tmp/variables/$name"
done
