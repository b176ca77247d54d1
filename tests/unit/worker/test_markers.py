"""Markers among a command's output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harbor_aws.worker.exec.markers import Marker, MarkerKind, MarkerScanner

ID = "ab" * 16
START = f"harbor-aws:{ID}:start:17:".encode()
END = f"harbor-aws:{ID}:end:3:".encode()


def scan(pieces: list[bytes]) -> tuple[bytes, list[Marker]]:
    scanner = MarkerScanner(ID)
    found = [item for piece in pieces for item in scanner.feed(piece)]
    output = b"".join(item for item in found if isinstance(item, bytes))
    return output, [item for item in found if isinstance(item, Marker)]


@given(
    st.lists(st.binary(max_size=20) | st.just(f"harbor-aws:{ID[:10]}".encode()) | st.just(b"h"), max_size=5),
    st.data(),
)
def test_markers_are_found_however_the_stream_is_cut(outputs: list[bytes], data: st.DataObject) -> None:
    """Output comes out as it went in, and each marker once, wherever the pieces end."""
    stream = START + b"".join(outputs) + END
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert scan(pieces) == (b"".join(outputs), [Marker(MarkerKind.START, 17), Marker(MarkerKind.END, 3)])


def test_output_is_not_held_back_longer_than_needed() -> None:
    """What cannot become a marker is passed on at once."""
    scanner = MarkerScanner(ID)
    assert scanner.feed(b"harbour") == [b"harbour"]
    assert scanner.feed(b"x harbor-aws:") == [b"x "]
    assert scanner.feed(b"y") == [b"harbor-aws:y"]


def test_another_commands_marker_is_output() -> None:
    """A command that prints something like a marker cannot end itself by that."""
    fake = f"harbor-aws:{'cd' * 16}:end:0:".encode()
    assert scan([fake]) == (fake, [])
