"""``python -m harbor_aws.worker``: one worker process of a stack."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run until told to stop; the exit code."""
    # As process 1 of its pod a worker ignores SIGTERM until it has a handler, and what follows takes a second or two.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Read by Harbor and litellm when they are imported.
    os.environ.setdefault("HARBOR_TELEMETRY", "0")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from harbor_aws.worker import process

    return process.main()


if __name__ == "__main__":
    sys.exit(main())
