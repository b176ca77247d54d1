"""Commands in a pod, over Kubernetes' exec.

One command is one exec stream. Whatever is not an exit status that the command itself left is an error, never an exit
code. Nothing here knows of Harbor.
"""
