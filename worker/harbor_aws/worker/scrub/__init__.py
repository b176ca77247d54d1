"""Takes the secrets that a worker knows out of whatever leaves it: files, results, reasons, messages, log lines.

Nothing here reads an environment or reaches a network; :mod:`~harbor_aws.worker.scrub.tree` and
:mod:`~harbor_aws.worker.scrub.records` alone touch files.
"""
