"""What acts on objects: controllers, and the kubelet that gives pods to the runtime."""
