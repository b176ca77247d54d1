"""Files into a pod and out of it, over exec: directories as tar, single files as they are, one exec each.

What is sent is digested at both ends while it streams, and is put in its place, here or there, only when both agree.
Nothing is staged as an archive. Images without tar are served by their shell (:mod:`.listing`). Nothing here knows of
Harbor.
"""
