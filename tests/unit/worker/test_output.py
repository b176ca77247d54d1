"""A command's output within bounds."""

from __future__ import annotations

import pytest

from harbor_aws.worker.exec.output import BoundedOutput


def test_text_comes_in_whole_characters() -> None:
    """A character that is cut by a piece's end comes with the next piece; what is no UTF-8 is replaced."""
    output = BoundedOutput(kept_in="/x.out")
    assert [output.add(piece) for piece in (b"a\xc3", b"\xbc", b"\xff")] == ["a", "ü", "\ufffd"]
    assert output.text() == "aü\ufffd"


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_the_beginning_and_the_end_are_kept(piece: int) -> None:
    """Beyond the limit the middle is left out, and a notice says how much of it."""
    output = BoundedOutput(kept_in="/x.out", limit_bytes=20)
    data = b"0123456789" + b"x" * 100 + b"abcdefghij"
    for start in range(0, len(data), piece):
        output.add(data[start : start + piece])
    notice = "[harbor-aws: 100 bytes of output are left out here; the pod has all in /x.out]"
    assert output.text() == f"0123456789\n{notice}\nabcdefghij"
    assert output.size == len(data)


def test_nothing_is_left_out_at_the_limit() -> None:
    """Output of exactly the limit is whole."""
    output = BoundedOutput(kept_in="/x.out", limit_bytes=20)
    output.add(b"a" * 20)
    assert output.text() == "a" * 20
