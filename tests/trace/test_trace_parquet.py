"""Trace files: round trips, totals, and files that are no traces."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkold.base.errors import InputError, LimitError
from mkold.trace import Trace, read_header, read_trace, write_trace
from mkold.trace.accesses import Accesses
from mkold.trace.fold import Folder, Origin
from mkold.trace.parquet import METADATA_KEY, write_folded


def make(pairs: list[tuple[int, int]]) -> Trace:
    vpn, write = zip(*pairs, strict=True)
    with Folder() as folder:
        folder.add(Accesses(np.array(vpn, np.uint64), np.array(write, np.uint8)))
        return folder.trace(Origin("a 'b c'", "test", exit_status=-9, stopped="end"))


SMALL = make([(7, 0), (7, 0), (9, 1), (7, 0)])


def same(one: Trace, other: Trace) -> bool:
    columns = all(np.array_equal(getattr(one, c), getattr(other, c)) for c in Trace.COLUMNS)
    types = all(getattr(one, c).dtype == getattr(other, c).dtype for c in Trace.COLUMNS)
    return columns and types and one.header == other.header


pairs = st.tuples(st.integers(0, 2**52 - 1) | st.integers(0, 5), st.integers(0, 1))


@given(st.lists(pairs, min_size=1, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_round_trip(tmp_path: Path, found: list[tuple[int, int]]) -> None:
    trace = make(found)
    write_trace(tmp_path / "t", trace, force=True)
    assert same(read_trace(tmp_path / "t"), trace)
    assert read_header(tmp_path / "t") == trace.header


def test_writing_by_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mkold.trace.fold.PIECE_ROWS", 3)
    with Folder(spill_rows=5) as folder:
        for at in range(10):
            folder.add(
                Accesses(np.array([at, 3, 99 - at], np.uint64), np.array([0, 1, 1], np.uint8))
            )
        header = folder.header(Origin("x", "y"))
        write_folded(tmp_path / "t", folder, header)
        trace = folder.trace(Origin("x", "y"))
    read = read_trace(tmp_path / "t")
    assert np.array_equal(read.page, trace.page)
    assert read.header == header
    assert [entry.name for entry in tmp_path.iterdir()] == ["t"]


def test_any_parquet_tool_reads_it(tmp_path: Path) -> None:
    write_trace(tmp_path / "t", SMALL)
    frame = pl.read_parquet(tmp_path / "t")
    assert frame.to_dict(as_series=False) == {
        "page": [0, 1, 0],
        "write": [False, True, False],
        "run": [2, 1, 1],
    }
    header = json.loads(pl.read_parquet_metadata(tmp_path / "t")[METADATA_KEY])
    assert header["schema"] == "mkold.trace/1"
    assert header["n_accesses"] == 4
    assert header["regions"] == [[0, 1, 7], [1, 1, 9]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_accesses": 5}, "number of accesses"),
        ({"n_reads": 2}, "number of reads"),
        ({"n_writes": 2}, "number of writes"),
        ({"n_rows": 4}, "4 rows, the file has 3"),
        ({"n_pages": 3}, "number of pages"),
        ({"n_pages": 1}, "number of pages"),
        ({"n_pages": 2**40}, "number of pages"),
        ({"page_size": 65536}, "page size"),
        ({"regions": []}, "regions"),
        ({"regions": [[0, 2, 2**60]]}, "regions"),
        ({"regions": [[0, 1, 7], [1, 1, 8]]}, "regions"),
        ({"regions": [[0, 1]]}, "three numbers"),
        ({"regions": 5}, "regions"),
        ({"n_reads": "many"}, "proper 'n_reads'"),
        ({"n_reads": True}, "proper 'n_reads'"),
        ({"n_reads": -1}, "n_reads = -1"),
        ({"command": None}, "proper 'command'"),
        ({"schema": "mkold.trace/9"}, "mkold.trace/9"),
        ({"n_rows": 2**50}, "rows"),
    ],
)
def test_a_header_that_lies_is_found(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_trace(tmp_path / "t", SMALL)
    frame = pl.read_parquet(tmp_path / "t")
    header = json.dumps(SMALL.header.to_json() | change)
    frame.write_parquet(tmp_path / "t", metadata={METADATA_KEY: header})
    with pytest.raises(InputError, match=message) as caught:
        read_trace(tmp_path / "t")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"page": [0, 1, 0], "run": [2, 1, 1]}, "columns"),
        ({"page": ["a", "b", "c"], "write": [0, 1, 0], "run": [2, 1, 1]}, "columns"),
        ({"page": [0, None, 0], "write": [False, True, False], "run": [2, 1, 1]}, "gaps"),
        ({"page": [0, 1, 0], "write": [False, True, False], "run": [4, 0, 0]}, "reads"),
    ],
)
def test_wrong_columns_are_found(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    frame = pl.DataFrame(columns)
    numbers = [name for name in ("page", "run") if frame.schema.get(name) == pl.Int64]
    frame = frame.with_columns(pl.col(numbers).cast(pl.UInt32))
    header = json.dumps(SMALL.header.to_json())
    frame.write_parquet(tmp_path / "t", metadata={METADATA_KEY: header})
    with pytest.raises(InputError, match=message):
        read_trace(tmp_path / "t")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a readable trace"),
        (b"PAR1", "not a readable trace"),
        (b"PAR1" + b"\xff" * 200 + b"PAR1", "not a readable trace"),
        (b" L 1000,8\n" * 50, "not a readable trace"),
    ],
)
def test_files_that_are_no_traces(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "t").write_bytes(raw)
    with pytest.raises(InputError, match=message):
        read_trace(tmp_path / "t")


def test_other_parquet_missing_file_and_folder(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t")
    with pytest.raises(InputError, match="not a trace: record one"):
        read_trace(tmp_path / "t")
    with pytest.raises(InputError, match="No such file"):
        read_trace(tmp_path / "none")
    with pytest.raises(InputError, match="is a directory"):
        read_trace(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("damaged") / "t"
    write_trace(path, SMALL)
    return path.read_bytes()


@given(st.integers(0, 2000), st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_still_consistent(
    tmp_path: Path, whole: bytes, at: int, byte: int
) -> None:
    """Any byte may be wrong: the outcome is an error or a trace that checks. A wrong length can
    make the library ask for more memory than there is."""
    path = tmp_path / "t"
    raw = bytearray(whole)
    raw[at % len(raw)] = byte
    path.write_bytes(raw)
    with contextlib.suppress(InputError, LimitError):
        read_trace(path).check()


def test_what_is_inconsistent_is_not_written(tmp_path: Path) -> None:
    header = dataclasses.replace(SMALL.header, n_rows=9)
    with pytest.raises(InputError, match="rows"):
        write_trace(tmp_path / "t", dataclasses.replace(SMALL, header=header))
    assert not list(tmp_path.iterdir())
