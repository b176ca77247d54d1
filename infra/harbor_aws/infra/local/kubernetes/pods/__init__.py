"""What runs the pods: process trees in namespaces of their own on a copy-on-write root file system."""
