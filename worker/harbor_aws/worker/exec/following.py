"""What has arrived of a command, over however many streams. No I/O but the callback's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harbor_aws.infra.errors import ExecError
from harbor_aws.worker.exec.channels import Channel
from harbor_aws.worker.exec.markers import MarkerKind, MarkerScanner
from harbor_aws.worker.exec.output import BoundedOutput
from harbor_aws.worker.exec.places import OUTPUT_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harbor_aws.worker.exec.channels import Frame
    from harbor_aws.worker.exec.markers import Marker

    OutputCallback = Callable[[str, Literal["stdout", "stderr"]], Awaitable[None]]

KILLED_EXIT_CODE = 137
"""A command's whose wrapper was killed with it, as by ``kill -9 -1``: a shell's word for SIGKILL."""

_FULL = "the pod's disk is full, so some of the output may be lost"


class FollowedCommand:
    """A command's output and exit code as far as they are known.

    Attributes:
        is_started: whether the pod has said that it runs, or did.
        exit_code: its own, once all of its output is here.
    """

    def __init__(self, command_id: str, on_output: OutputCallback | None) -> None:
        self._id = command_id
        self._on_output = on_output
        self._outputs = {
            Channel.STDOUT: BoundedOutput(kept_in=f"{OUTPUT_DIRECTORY}/{command_id}.out"),
            Channel.STDERR: BoundedOutput(kept_in=f"{OUTPUT_DIRECTORY}/{command_id}.err"),
        }
        self._scanners: dict[Channel, MarkerScanner] = {}
        self._ended: dict[Channel, int] = {}
        self._is_cut_short = False
        self.is_started = False
        self.attach()

    def attach(self) -> None:
        """A new stream begins, behind the last byte of output that is known."""
        self._scanners = {channel: MarkerScanner(self._id) for channel in self._outputs}
        self._ended = {}

    @property
    def exit_code(self) -> int | None:
        return self._ended[Channel.STDOUT] if self._ended.keys() == self._outputs.keys() else None

    @property
    def stdout_bytes(self) -> int:
        """How much is known of stdout."""
        return self._outputs[Channel.STDOUT].size

    @property
    def stderr_bytes(self) -> int:
        return self._outputs[Channel.STDERR].size

    @property
    def stdout(self) -> str:
        return self._outputs[Channel.STDOUT].text()

    @property
    def stderr(self) -> str:
        text = self._outputs[Channel.STDERR].text()
        return f"{text}\n[harbor-aws: {_FULL}]\n" if self._is_cut_short else text

    async def take(self, frame: Frame) -> None:
        """Take in a frame of stdout or stderr.

        Raises:
            ExecError: the pod says that it does not run the command.
        """
        for item in self._scanners[frame.channel].feed(frame.data):
            if not isinstance(item, bytes):
                self._heed(frame.channel, item)
            elif frame.channel not in self._ended:
                text = self._outputs[frame.channel].add(item)
                if text and self._on_output:
                    await self._on_output(text, "stdout" if frame.channel is Channel.STDOUT else "stderr")

    def _heed(self, channel: Channel, marker: Marker) -> None:
        match marker.kind:
            case MarkerKind.START:
                self.is_started = True
            case MarkerKind.END:
                self._ended[channel] = marker.number
            case MarkerKind.FULL:
                self._is_cut_short = True
            case MarkerKind.KILLED:
                self._ended = dict.fromkeys(self._outputs, KILLED_EXIT_CODE)
            case MarkerKind.UNKNOWN:
                raise ExecError("What became of a command cannot be told: the pod does not know of it any more.")
            case MarkerKind.NOWHERE:
                raise ExecError("A command was not started: no file or pipe can be made in the pod.")
