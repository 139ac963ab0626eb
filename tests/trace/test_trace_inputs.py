"""Traces of other tools: told apart, read, refused. Vectors name what they look like."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.base.errors import InputError, LimitError, SourceError
from mkold.trace import find_trace, write_trace
from mkold.trace.feed import Limits
from mkold.trace.fold import Folder
from mkold.trace.formats.door import convert, open_trace
from mkold.trace.formats.table import FORMATS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def imported(
    text: bytes, *, instructions: bool = False
) -> tuple[str, list[tuple[int, int]], list[str]]:
    """Format, accesses as page and kind, and what is said."""
    with Folder() as folder:
        limits = Limits(instructions)
        origin, said = convert(io.BytesIO(text), "x", folder, limits, lambda *_: None)
        trace = folder.trace(origin).check()
    page = np.repeat(trace.vpn()[trace.page], trace.run).tolist()
    write = np.repeat(trace.write, trace.run).tolist()
    return origin.source, list(zip(page, write, strict=True)), said


KIND, LS, BACK = "R|W ADDRESS [SIZE]", "l|s 0xADDRESS", "ADDRESS R|W"
PIN, DIN = "Pin's pinatrace", "Dinero's din"
VECTORS = [
    # public course repositories on paging and caches
    (b"00001a40 R\n00002a44 W\n", BACK, [(1, 0), (2, 1)]),
    (b"0x1a40,W\r\n0x2a44,R\r\n", BACK, [(1, 1), (2, 0)]),
    (b"1ffe W 4\n", BACK, [(1, 1), (2, 1)]),
    (b"R 0x1000\nW 2000 8\n", KIND, [(1, 0), (2, 1)]),
    (b"l 0x00001a40\ns 0x00002a44", LS, [(1, 0), (2, 1)]),
    (b"s 0x1f50 1\nl 0x1fff 0\nl 0x3000 8000\n", LS, [(1, 1), (1, 0), (3, 0)]),
    (b"l 1a40 4\ns 2a44\n", KIND, [(1, 0), (2, 1)]),
    (b"# a comment\nL 1000\nS 1000\n", KIND, [(1, 0), (1, 1)]),
    (b"read 1000\nwrite 1ffe 4\nWRITE 3000\n", KIND, [(1, 0), (1, 1), (2, 1), (3, 1)]),
    # Pin's pinatrace of ManualExamples and of SimpleExamples, with values and without
    (b"0x40: R 0x1000\n0x44: W 0x2000\n#eof\n", PIN, [(1, 0), (2, 1)]),
    (b"#\n# Memory Access Trace\n#\n0x40: R     0x1ffe  8 0x7fff00000000\n", PIN,
     [(1, 0), (2, 0)]),
    (b"0x40: W (nil) 8\n", PIN, [(0, 1)]),
    (b"0x40 R 0x1000\n", PIN, [(1, 0)]),
    (b"0x40,W,0x1000,4\n", PIN, [(1, 1)]),
    # Dinero IV, -informat d
    (b"2 401000\n0 10001008\n1 10002010 a comment\n3 0\n4 0\n", DIN,
     [(0x10001, 0), (0x10002, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "accesses"), VECTORS)
def test_vectors(text: bytes, name: str, accesses: list[tuple[int, int]]) -> None:
    source, found, said = imported(text)
    assert (source, found) == (name, accesses)
    assert said[0] == f"x: read as {name}"


def test_instruction_fetches_are_left_out_and_counted() -> None:
    text = b"2 401000\n0 10001008\n1 10002010\n2 401004\n"
    _, found, said = imported(text)
    assert len(found) == 2
    assert "left out: 2 instruction fetches" in said[1]
    assert len(imported(text, instructions=True)[1]) == 4


PACKERS = [gzip.compress, bz2.compress, lzma.compress, zstd.compress]


@pytest.mark.parametrize("pack", PACKERS)
def test_packed_input(pack: type[bytes]) -> None:
    text = VECTORS[0][0]
    assert imported(pack(text) + pack(text))[1] == VECTORS[0][2] * 2
    packed = pack(text * 1000)
    with pytest.raises(InputError, match="damaged or cut short"):
        imported(packed[: len(packed) - 6])


REFUSED = [
    (b"\x7fELF\x02\x01", "a program"),
    (b"PERFILE2\0\0", "perf's own perf.data"),
    (b"\x17\x08\x44tracing6\0", "trace-cmd's own trace.dat"),
    (b'open("x", O_RDONLY) = 3\n', "strace"),
    (b"events: Ir Dr\nfn=main\n", "cachegrind"),
    (b"128166372003061629,usr,0,Read,10995532800,16384,30123\n", "MSR Cambridge"),
    (b"00400000-00452000 r-xp 00000000 08:02 1 /bin/x\n", "memory map"),
    (b"\0\0\1\2", "binary"),
    (b"hello\nworld\n", "no format that is taken"),
    (b"x: 3 times, 2 minor faults: 7, as said\n", "no format that is taken"),
    (b"1 2 3 4\n5 6 7 8\n", "no format that is taken"),
]


@pytest.mark.parametrize(("text", "name"), REFUSED)
def test_what_is_not_taken_is_named(text: bytes, name: str) -> None:
    with pytest.raises(SourceError, match=name) as caught:
        imported(text)
    assert (caught.value.pos.line, caught.value.pos.col) == (1, 1)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        (b"1000 R\n2000 W\n3000 X\n", (3, 1), "not a line of a trace of ADDRESS"),
        (b"1000 R\n2000 W\n30z0 R\n", (3, 1), "not a hexadecimal"),
        (b"R 1000\nR 1000 4\nR 1000 0\n", (3, 8), "not a number from 1"),
        (b"0 1000\n1 1000\n7 1000\n", (3, 1), "not a line of Dinero's din"),
        (b"0 1000\n1 1000\n1\n", (3, 2), "the address is missing"),
        (b"0x4: R 0x10\n0x4: R\n", (2, 7), "the address is missing"),
    ],
)
def test_wrong_lines_have_a_place(text: bytes, at: tuple[int, int], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        imported(text)
    assert (caught.value.pos.line, caught.value.pos.col) == at


WORDS = st.sampled_from(
    [b" ", b"\n", b"\r\n", b",", b":", b"0x", b"R", b"W", b"l", b"s", b"L", b"S", b"1000", b"0",
     b"ffffffffffffffff", b"8", b"2", b"#", b"\0", b"\xff", b"(nil)", b"I"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=40).map(b"".join) | st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_trace_or_an_error(text: bytes) -> None:
    with contextlib.suppress(InputError, LimitError):
        imported(text)


@given(st.sampled_from([known for known, *_ in VECTORS]), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_vectors_are_a_trace_or_an_error(text: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(at, len(text)))
    with contextlib.suppress(InputError, LimitError):
        imported(text * 2 + text[:at] + data.draw(st.binary(max_size=6)) + text[cut:] + text)


def test_names_are_different() -> None:
    assert max(Counter(known.name for known in FORMATS).values()) == 1


def test_run_takes_what_record_would_import(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"00001a40 R\n00002a44 W\n")
    trace, said = open_trace(tmp_path / "x")
    assert trace.n_pages == 2
    assert "read as ADDRESS R|W" in said[0]
    assert "mkold record --import" in said[-1]
    write_trace(tmp_path / "ours", trace)
    again, said = open_trace(tmp_path / "ours")
    assert (again.header, said) == (trace.header, [])


def test_ours_are_told_from_other_parquet(tmp_path: Path) -> None:
    trace, _ = open_trace(find_trace("diff"))
    frame = {"page": trace.page[:9], "write": trace.write[:9] != 0}
    pl.DataFrame(frame).write_parquet(tmp_path / "theirs")
    assert open_trace(tmp_path / "theirs")[0].n_accesses == 9
    ours = find_trace("diff").read_bytes()
    with pytest.raises(InputError, match="a trace of mkold's already"):
        imported(ours)
    (tmp_path / "cut").write_bytes(ours[:-7])
    with pytest.raises(InputError, match="cut: not a readable trace"):
        open_trace(tmp_path / "cut")


def test_importing_for_a_run_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1000 R\n2000 W\n" * 1000)
    with pytest.raises(LimitError, match="importing"):
        open_trace(tmp_path / "x", memory_bytes=10_000)


def test_the_page_of_formats_names_each() -> None:
    page = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text().replace("\\|", "|")
    words = {
        "DAMON's records (JSON)": "DAMON's records, JSON",
        "DAMON's text": "`damo report raw`",
        "DAMON's trace event": "DAMON's trace event",
        "DynamoRIO's drmemtrace view": "DynamoRIO's drmemtrace, its `view` tool",
        "perf script of perf mem": "`perf script` of `perf mem record`",
        "perf script of page faults": "of `page-faults`",
        "Pin's pinatrace": "Pin's `pinatrace`",
        "Dinero's din": "Dinero's `din`",
    }
    assert not [each.name for each in FORMATS if words.get(each.name, each.name) not in page]
