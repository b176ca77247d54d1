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


class EvictedError(PodGoneError):
    """The cluster took the pod away for reasons of its own, as Fargate does to patch what it runs on."""


class LimitExceededError(PodFailedError):
    """The trial used more of something than its pod has: with as much, the same is likely to happen again."""


class OutOfMemoryError(LimitExceededError):
    """The pod's memory was used up, and the kernel or the kubelet ended the container."""


class StorageExceededError(LimitExceededError):
    """The pod's storage was used up, and the kubelet evicted the pod."""


class PodDeadlineError(PodFailedError, PermanentError):
    """The pod's ``activeDeadlineSeconds`` were over."""


class PodStartError(PodError):
    """The pod never became ready (image pull, scheduling, capacity)."""


class CapacityError(PodStartError):
    """There is no room for the pod now: the account's vCPUs, the stack's, or Fargate's own are in use. It passes."""


class ImagePullError(PodStartError):
    """The pod's image could not be pulled, or does not run; none of the kinds below, or nobody knows which."""


class ImageMissingError(ImagePullError, PermanentError):
    """The registry has no such image."""


class ImageRefusedError(ImagePullError, PermanentError):
    """The registry does not give the image to this stack: it is private, or not there."""


class ImageNameError(ImagePullError, PermanentError):
    """What is to be pulled is no image's name."""


class ImageTooLargeError(ImagePullError, PermanentError):
    """The image does not fit into the pod's storage."""


class WrongArchitectureError(ImagePullError, PermanentError):
    """The image is made for another processor or system."""


class RegistryError(ImagePullError):
    """The registry did not answer, or not to the end."""


class PullRateError(ImagePullError, CapacityError):
    """The registry allows no more pulls for now."""


class NoNodeError(PodStartError):
    """The pod was given no node in time, and nobody says that there is no room."""


class NotPlaceableError(PodStartError, PermanentError):
    """No node will ever be given to a pod that asks for this."""


class ExecError(InfrastructureError):
    """A command's fate is unknown: its stream ended without a status, or could not be opened."""


class TransferError(InfrastructureError):
    """Files did not arrive whole."""
