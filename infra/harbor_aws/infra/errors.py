"""The one tree of errors, split by what the caller does about them."""


class HarborAwsError(Exception):
    """Anything that harbor-aws raises on purpose. Its message says what happened, to what, and what to do."""


class UsageError(HarborAwsError):
    """What the user asked for cannot be done as asked; nothing was started. The commands exit with 2."""


class InfrastructureError(HarborAwsError):
    """The machinery failed, not the agent: the trial is retried within its budget and never scored."""


class TransientError(InfrastructureError):
    """The same call may succeed in a moment (throttling, 5xx, a cut connection)."""


class PermanentError(InfrastructureError):
    """Trying again cannot help (an image that does not exist, a task that this backend cannot run)."""


class PodError(InfrastructureError):
    """Something became of the trial's pod that ends the attempt.

    Attributes:
        pod: the pod's name.
        reason: the pod's own word for it, such as ``OOMKilled`` or ``Evicted``.
    """

    def __init__(self, message: str, *, pod: str, reason: str) -> None:
        super().__init__(message)
        self.pod = pod
        self.reason = reason


class PodGoneError(PodError):
    """The pod was deleted, evicted, or replaced by another of its name."""


class PodFailedError(PodError):
    """The pod's container ended while the trial still needed it (out of memory, killed, deadline)."""


class PodStartError(PodError):
    """The pod never became ready (image pull, scheduling, capacity)."""


class ExecError(InfrastructureError):
    """A command's fate is unknown: its stream ended without a status, or could not be opened."""


class TransferError(InfrastructureError):
    """Files did not arrive whole."""
