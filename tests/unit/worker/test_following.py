"""What is known of a command, however its streams are cut."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_aws.infra.errors import ExecError
from harbor_aws.worker.exec.channels import Channel, Frame, decode, stdin_frames
from harbor_aws.worker.exec.following import KILLED_EXIT_CODE, FollowedCommand
from harbor_aws.worker.exec.output import LIMIT_BYTES

ID = "ab" * 16
PREFIX = f"harbor-aws:{ID}:".encode()
OUTPUT = st.lists(st.binary(max_size=30) | st.sampled_from([PREFIX, PREFIX[:9], b"h", "ü".encode()]), max_size=6)


def start() -> FollowedCommand:
    return FollowedCommand(ID, None)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(stdout=OUTPUT, stderr=OUTPUT, code=st.integers(0, 255), data=st.data())
def test_every_byte_comes_once_wherever_streams_are_cut(
    stdout: list[bytes], stderr: list[bytes], code: int, data: st.DataObject
) -> None:
    """Any bytes, in any frames, over any number of streams that are cut anywhere: each byte once, and the code."""
    printed = {Channel.STDOUT: b"".join(stdout), Channel.STDERR: b"".join(stderr)}
    end = PREFIX + b"end:%d:" % code
    followed = start()

    async def follow() -> None:
        for stream in range(data.draw(st.integers(1, 4))):
            followed.attach()
            known = {Channel.STDOUT: followed.stdout_bytes, Channel.STDERR: followed.stderr_bytes}
            frames = []
            for channel, output in printed.items():
                sent = (PREFIX + b"start:0:" if channel is Channel.STDOUT else b"") + output[known[channel] :] + end
                if stream < 3:
                    sent = sent[: data.draw(st.integers(0, len(sent)))]
                cuts = data.draw(st.lists(st.integers(0, max(1, len(sent))), max_size=5))
                frames += [Frame(channel, piece) for piece in pieces(sent, cuts)]
            for frame in frames:
                await followed.take(frame)
            if followed.exit_code is not None:
                return
        followed.attach()
        for channel, known_bytes in ((Channel.STDOUT, followed.stdout_bytes), (Channel.STDERR, followed.stderr_bytes)):
            await followed.take(Frame(channel, printed[channel][known_bytes:] + end))

    asyncio.run(follow())
    assert followed.exit_code == code
    assert followed.stdout == printed[Channel.STDOUT].decode(errors="replace")
    assert followed.stderr == printed[Channel.STDERR].decode(errors="replace")


@given(st.binary(max_size=70_000))
def test_stdin_comes_out_of_its_frames(data: bytes) -> None:
    """What is cut into messages for the server is the same bytes behind the channel's number."""
    frames = list(stdin_frames(data))
    assert b"".join(frame[1:] for frame in frames) == data
    assert all(frame[0] == Channel.STDIN and len(frame) > 1 for frame in frames)


@given(st.binary(max_size=200))
def test_any_message_is_a_frame_or_nothing(message: bytes) -> None:
    """No message of a server is an exception."""
    frame = decode(message)
    assert frame is None or bytes([frame.channel]) + frame.data == message


async def test_text_is_shown_as_it_comes() -> None:
    """The callback is given text of each stream, whole characters only, and none of the markers."""
    shown: list[tuple[str, str]] = []

    async def show(text: str, stream: Literal["stdout", "stderr"]) -> None:
        shown.append((stream, text))

    followed = FollowedCommand(ID, show)
    for channel, data in (
        (Channel.STDOUT, PREFIX + b"start:0:a\xc3"),
        (Channel.STDERR, b"e"),
        (Channel.STDOUT, b"\xbc" + PREFIX + b"alive:0:"),
        (Channel.STDOUT, b"!" + PREFIX + b"end:0:late"),
    ):
        await followed.take(Frame(channel, data))
    assert shown == [("stdout", "a"), ("stderr", "e"), ("stdout", "ü"), ("stdout", "!")]


async def test_the_code_waits_for_both_streams() -> None:
    """There is no exit code until the end of both streams was seen over the same connection."""
    followed = start()
    await followed.take(Frame(Channel.STDOUT, PREFIX + b"end:3:"))
    assert followed.exit_code is None
    followed.attach()
    await followed.take(Frame(Channel.STDERR, PREFIX + b"end:3:"))
    assert followed.exit_code is None
    await followed.take(Frame(Channel.STDOUT, PREFIX + b"end:3:"))
    assert followed.exit_code == 3


async def test_what_the_pod_says_instead_of_an_end() -> None:
    """Killed wrappers are a code, full disks a notice, and what nobody knows an error."""
    killed = start()
    await killed.take(Frame(Channel.STDOUT, PREFIX + b"killed:0:"))
    assert killed.exit_code == KILLED_EXIT_CODE
    full = start()
    await full.take(Frame(Channel.STDOUT, PREFIX + b"full:0:"))
    assert "disk is full" in full.stderr
    for word, text in ((b"unknown:0:", "does not know"), (b"nowhere:0:", "no file or pipe")):
        with pytest.raises(ExecError, match=text):
            await start().take(Frame(Channel.STDOUT, PREFIX + word))


async def test_output_beyond_the_bound_is_counted_whole() -> None:
    """Where to go on counts every byte, also those that were left out."""
    followed = start()
    for _ in range(3):
        await followed.take(Frame(Channel.STDOUT, b"x" * LIMIT_BYTES))
    assert followed.stdout_bytes == 3 * LIMIT_BYTES
    assert f"/{ID}.out" in followed.stdout
