"""What runs in the fleet: the Celery worker, its lease on messages, trials, pods, exec and tar, results.

Imports ``producer`` for the message that it reads, and ``infra``.
"""
