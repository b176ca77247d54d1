"""What the researcher runs: plan a dataset, check it, bundle it, enqueue it, follow it, fetch it.

Imports ``infra``; never ``worker``.
"""
