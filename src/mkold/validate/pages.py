"""Sets of pages: a bitmap is a whole number, page ``i`` its bit ``i``; text is ``3-5,9``.

A bitmap on a line is hexadecimal, lowest pages first: page 0 is the lowest bit of the first
digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mkold.base.errors import InputError


def bitmap(pages: Iterable[int]) -> int:
    """The bitmap of ``pages``."""
    found = 0
    for page in pages:
        found |= 1 << page
    return found


def pages_of(bits: int) -> Iterator[int]:
    """The pages of a bitmap, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def runs(bits: int) -> Iterator[tuple[int, int]]:
    """The pages of a bitmap as runs: first page, and the one behind the last."""
    at = 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        n = ((bits + 1) & ~bits).bit_length() - 1
        yield at + skip, at + skip + n
        at, bits = at + skip + n, bits >> n


def pages_text(bits: int) -> str:
    """``3-5,9``; empty for no page."""
    return ",".join(
        f"{first}" if end == first + 1 else f"{first}-{end - 1}" for first, end in runs(bits)
    )


def read_pages(text: str) -> int:
    """The bitmap of ``3-5,9``.

    Raises
    ------
    InputError : it is no such list
    """
    bits = 0
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"{part!r} is no page and no range of pages")
        n = int(last) - int(first) + 1 if dash else 1
        if n < 1 or int(first) + n > 1 << 22:
            raise InputError(f"{part!r} is no range of pages")
        bits |= ((1 << n) - 1) << int(first)
    return bits


def hex_bitmap(bits: int, n_pages: int) -> str:
    """``bits`` on a line, ``n_pages`` of them."""
    n_digits = -(-n_pages // 4)
    return f"{bits:0{n_digits}x}"[::-1] if n_digits else ""


def read_hex_bitmap(text: str) -> int:
    """What ``hex_bitmap`` wrote.

    Raises
    ------
    InputError : a character is no hexadecimal digit
    """
    if not all(digit in "0123456789abcdef" for digit in text):
        raise InputError(f"{text[:40]!r} is no bitmap")
    return int(text[::-1], 16) if text else 0
