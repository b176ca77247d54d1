"""Images: what a pod's root file system is made of, and the builder of Dockerfiles."""
