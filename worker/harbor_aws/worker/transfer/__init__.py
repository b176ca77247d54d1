"""Files into a pod and out of it, over exec: directories as tar, single files as they are.

What is transferred is kept as one file in the pod first, so that its size and digest are checked at both ends and
nothing depends on when a stream ends. Nothing here knows of Harbor.
"""
