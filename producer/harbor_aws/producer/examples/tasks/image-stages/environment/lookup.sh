#!/bin/sh
# The words of the dictionary that begin with a prefix.
exec grep "^$1" "$DICTIONARY"
