"""The 512-byte header blocks of a tar. Pure.

GNU's format is written, which BusyBox reads too: names of any bytes and any length, sizes of any number of bytes.
https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harbor_aws.worker.transfer.member import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 512

REGULAR, HARD_LINK, SYMLINK, DIRECTORY = b"0", b"1", b"2", b"5"
GNU_LONG_NAME, GNU_LONG_LINK, GNU_SPARSE = b"L", b"K", b"S"
PAX, PAX_GLOBAL = b"x", b"g"

END = bytes(2 * BLOCK)
"""Two zero blocks end an archive."""

_NAME_BYTES = 100
_CHECKSUM = slice(148, 156)
_EXTENTS_IN_HEADER = 4
_EXTENTS_IN_BLOCK = 21


def header(
    name: bytes, *, type_flag: bytes, mode: int = 0o644, size: int = 0, mtime: int = 0, link: bytes = b""
) -> bytes:
    """The block or blocks before a member's content. Everything is root's."""
    if len(name) <= _NAME_BYTES and len(link) <= _NAME_BYTES:
        return _block(name, type_flag, mode, size, mtime, link)
    long = _long(GNU_LONG_LINK, link) if len(link) > _NAME_BYTES else b""
    long += _long(GNU_LONG_NAME, name) if len(name) > _NAME_BYTES else b""
    return long + _block(name[:_NAME_BYTES], type_flag, mode, size, mtime, link[:_NAME_BYTES])


def sparse_header(
    name: bytes, *, mode: int, mtime: int, size: int, extents: Sequence[tuple[int, int]]
) -> tuple[bytes, int]:
    """The blocks before the content of a file with holes, in GNU's old format, and the content's length.

    https://www.gnu.org/software/tar/manual/html_node/Old-GNU-Format.html
    """
    stored = sum(length for _, length in extents)
    extents = [*extents, (size, 0)]  # tells where a file ends that ends with a hole
    prefix = _long(GNU_LONG_NAME, name) if len(name) > _NAME_BYTES else b""
    block = bytearray(_block(name[:_NAME_BYTES], GNU_SPARSE, mode, stored, mtime, b""))
    first, rest = extents[:_EXTENTS_IN_HEADER], extents[_EXTENTS_IN_HEADER:]
    numbers = b"".join(_number(offset, 12) + _number(length, 12) for offset, length in first)
    block[386 : 386 + len(numbers)] = numbers
    block[482] = bool(rest)
    block[483:495] = _number(size, 12)
    block[_CHECKSUM] = _checksum(block)
    blocks = [prefix, bytes(block)]
    while rest:
        part, rest = rest[:_EXTENTS_IN_BLOCK], rest[_EXTENTS_IN_BLOCK:]
        numbers = b"".join(_number(offset, 12) + _number(length, 12) for offset, length in part)
        blocks.append(numbers.ljust(504, b"\0") + bytes([bool(rest)]).ljust(8, b"\0"))
    return b"".join(blocks), stored


def padding(size: int) -> int:
    """Bytes between the end of a content and the next block."""
    return -size % BLOCK


def check(block: bytes) -> None:
    """Raises: ArchiveError: these are not the bytes of a header."""
    stated = number(block[_CHECKSUM])
    if stated != sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20:
        raise ArchiveError("A header of the tar has a wrong checksum.")


def number(field: bytes) -> int:
    """A number, in octal digits or in GNU's base 256.

    Raises:
        ArchiveError: it is neither.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] == 0xFF else value
    digits = field.split(b"\0", 1)[0].strip()
    if digits and digits.strip(b"01234567"):
        raise ArchiveError(f"A header of the tar says {field!r} where a number should be.")
    return int(digits or b"0", 8)


def text(field: bytes) -> bytes:
    """A field up to its first NUL."""
    return field.split(b"\0", 1)[0]


def header_extents(block: bytes) -> tuple[list[tuple[int, int]], bool]:
    """What a header of a file with holes says is stored, and whether a block with more follows."""
    return _extents(block[386:482]), bool(block[482])


def more_extents(block: bytes) -> tuple[list[tuple[int, int]], bool]:
    """What a block after such a header says."""
    return _extents(block[:504]), bool(block[504])


def _extents(area: bytes) -> list[tuple[int, int]]:
    pairs = (area[start : start + 24] for start in range(0, len(area), 24))
    return [(number(pair[:12]), number(pair[12:])) for pair in pairs if pair[0]]


def _block(name: bytes, type_flag: bytes, mode: int, size: int, mtime: int, link: bytes) -> bytes:
    block = bytearray(
        b"%b%07o\x000000000\x000000000\x00%b%b        %b%b"
        % (name.ljust(100, b"\0"), mode, _number(size, 12), _number(mtime, 12), type_flag, link.ljust(100, b"\0"))
    )
    block += _REST
    block[_CHECKSUM] = _checksum(block)
    return bytes(block)


_REST = b"ustar  \0".ljust(BLOCK - 257, b"\0")  # GNU's magic; no user, group, device or prefix


def _checksum(block: bytes | bytearray) -> bytes:
    return b"%06o\0 " % (sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20)


def _long(type_flag: bytes, value: bytes) -> bytes:
    content = value + b"\0"
    return _block(b"././@LongLink", type_flag, 0, len(content), 0, b"") + content + bytes(padding(len(content)))


def _number(value: int, width: int) -> bytes:
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    unsigned = value if value >= 0 else value + (1 << (8 * width))
    return (unsigned | 1 << (8 * width - 1)).to_bytes(width, "big")
