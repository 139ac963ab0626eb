"""The lackey reader against vectors, a plain reader, and hostile bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mkold.base.errors import SourceError
from mkold.trace.formats import lackey
from mkold.trace.formats.reading import BLOCK_BYTES

WORDS = re.compile(rb"[^\x00- ,]+")
ADDRESS = re.compile(rb"(0[xX])?([0-9a-fA-F]{1,16})\Z")
CHATTER = (b"==", b"--", b"**", b"#")
KINDS = {b"L": [0], b"S": [1], b"M": [0, 1], b"I": [], b"SB": None}


def read(text: bytes, **options: bool) -> list[tuple[int, int]]:
    batches = list(lackey.parse([text], name="t", **options))
    return [
        (int(vpn), int(write))
        for batch in batches
        for vpn, write in zip(batch.vpn, batch.write, strict=True)
    ]


def plainly(text: bytes, instructions: bool) -> list[tuple[int, int]] | int:
    """The same, one line at a time; a wrong line gives its number."""
    found: list[tuple[int, int]] = []
    lines = text.split(b"\n")
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        words = WORDS.findall(line)
        if not words or words[0] == b"SB":
            continue
        if words[0] not in KINDS or len(words) != 3:
            if line.strip(bytes(range(33))).startswith(CHATTER):
                continue
            return number
        match = ADDRESS.match(words[1])
        if match is None or re.fullmatch(rb"[0-9]{1,9}", words[2]) is None:
            return number
        address, size = int(match[2], 16), int(words[2])
        if not 1 <= size <= 4096 or address + size > 1 << 64:
            return number
        pages = sorted({address >> 12, (address + size - 1) >> 12})
        writes = [0] if words[0] == b"I" and instructions else KINDS[words[0]] or []
        found += [(page, write) for write in writes for page in pages]
    return found


VECTORS = [
    (b" L 1fff000778,8\n", [(0x1FFF000, 0)]),
    (b" S 00001000,4\n", [(1, 1)]),
    (b" M 0421c7c4,4\n", [(0x421C, 0), (0x421C, 1)]),
    (b"I  04001000,3\n L 0,1\n", [(0, 0)]),
    (b" S 1ffc,8\n", [(1, 1), (2, 1)]),
    (b" M 1ffe,4\n", [(1, 0), (2, 0), (1, 1), (2, 1)]),
    (b" L ffffffffffffffff,1\n", [(0xFFFFFFFFFFFFF, 0)]),
    (b" L FFF0ABCD,16\n", [(0xFFF0A, 0)]),
    (b" L 00001000,512\n", [(1, 0)]),
    (b" S 2000,4096\n", [(2, 1)]),
    (b"L 1000,8\n", [(1, 0)]),
    (b" S 1000,8 \r\n L 2000,1\t\r\n", [(1, 1), (2, 0)]),
    (b" L 1000,8\n S 2000,8", [(1, 0), (2, 1)]),
    (b"SB 04001000\n L 0x1000,008\n", [(1, 0)]),
    (b"==12== Lackey\n==12==\n\n--12-- x\n**12** y\n L 5000,1\n", [(5, 0)]),
]


@pytest.mark.parametrize(("text", "accesses"), VECTORS)
def test_vectors(text: bytes, accesses: list[tuple[int, int]]) -> None:
    assert read(text) == accesses
    assert plainly(text, False) == accesses


def test_instruction_fetches_are_reads_when_asked_for() -> None:
    text = b"I  04001ffe,4\n S 5000,1\n"
    assert read(text, instructions=True) == [(0x4001, 0), (0x4002, 0), (5, 1)]


GOOD = b" L 1000,8\n"
BAD = [
    (b"hello world\n", "not a line of lackey"),
    (b"hello\n", "not a line of lackey"),
    (b" L 1000,0\n", "size is not a number"),
    (b" L 1000,-8\n", "size is not a number"),
    (b" L 1000,4097\n", "size is not a number"),
    (b" L 1000,99999\n", "size is not a number"),
    (b" L 1000,8 8\n", "goes on here"),
    (b" L 1000\n", "size is missing"),
    (b" L 1000,\n", "size is missing"),
    (b" L ,\n", "address is missing"),
    (b" L 10g0,8\n", "not a hexadecimal number"),
    (b" L 0y1000,8\n", "not a hexadecimal number"),
    (b" L -1000,8\n", "not a hexadecimal number"),
    (b" L 10000000000000000,8\n", "17 digits"),
    (b" L ffffffffffffffff,2\n", r"below 2\*\*64"),
    (b" X 1000,8\n", "not a line of lackey"),
    (b"= one\n", "not a line of lackey"),
    (b"\x00\xff\x80\n", "not a line of lackey"),
    (b" L 1000,8\xa0\n", "size is not a number"),
    (b" L 1000", "size is missing"),
    (b"x", "not a line"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
@pytest.mark.parametrize("instructions", [False, True])
def test_bad_lines_are_named(bad: bytes, message: str, instructions: bool) -> None:
    text = GOOD + b"==1== chatter\n" + bad
    with pytest.raises(SourceError, match=message) as caught:
        read(text, instructions=instructions)
    assert caught.value.pos.line == 3
    assert caught.value.text.isprintable()
    assert plainly(text, instructions) == 3


def test_the_line_number_counts_across_blocks() -> None:
    text = GOOD * (BLOCK_BYTES // len(GOOD) + 1000)
    n_lines = text.count(b"\n")
    with pytest.raises(SourceError) as caught:
        list(lackey.parse([text, text, b"junk\n"], name="t"))
    assert caught.value.pos.line == 2 * n_lines + 1


def test_a_cut_stream_loses_only_its_unfinished_line() -> None:
    assert read(GOOD + b" L 20", cut=True) == [(1, 0)]


def test_a_giant_line_is_refused_before_it_is_held() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield GOOD
        while True:
            taken += 1
            yield b"a" * (1 << 16)

    with pytest.raises(SourceError, match="longer than") as caught:
        list(lackey.parse(endless(), name="t"))
    assert caught.value.pos.line == 2
    assert taken << 16 <= 2 * BLOCK_BYTES


def test_a_long_wrong_line_is_shown_short() -> None:
    with pytest.raises(SourceError) as caught:
        read(b"x" * 10_000 + b"\n")
    assert len(caught.value.text) < 100


lines = st.builds(
    lambda kind, address, size: b"%s %x,%d\n" % (kind, address, size),
    st.sampled_from([b"I ", b" L", b" S", b" M"]),
    st.integers(0, 2**64 - 1) | st.integers(0, 1 << 14),
    st.integers(0, 5000) | st.integers(1, 16),
)


@given(
    st.lists(lines | st.sampled_from([b"\n", b"==1== x\n", b"x\n", b" L 1,1"]), max_size=30),
    st.booleans(),
    st.integers(1, 40),
)
def test_agrees_with_a_plain_reader(parts: list[bytes], instructions: bool, step: int) -> None:
    text = b"".join(parts)
    agree(text, instructions, step)


@given(
    st.binary(max_size=60) | st.text(" LSMI0123456789abcdfF,=\n-", max_size=60).map(str.encode)
)
@example(b"\n")
@example(b"\n\n L 1,1\n\n")
@settings(max_examples=400)
def test_bytes_are_read_or_refused(text: bytes) -> None:
    agree(text, True, 7)


def agree(text: bytes, instructions: bool, step: int) -> None:
    """The same accesses, or an error at the same line; however the text is cut."""
    expected = plainly(text, instructions)
    chunks = [text[at : at + step] for at in range(0, len(text), step)]
    parsed = lackey.parse(chunks, name="t", instructions=instructions)
    if isinstance(expected, int):
        with pytest.raises(SourceError) as caught:
            list(parsed)
        assert caught.value.pos.line == expected
        assert str(caught.value).isascii()
        return
    batches = list(parsed)
    vpn = np.concatenate([batch.vpn for batch in batches]) if batches else np.empty(0)
    write = np.concatenate([batch.write for batch in batches]) if batches else np.empty(0)
    assert list(zip(vpn.tolist(), write.tolist(), strict=True)) == expected
