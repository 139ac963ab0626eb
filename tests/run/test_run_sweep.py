"""Grids: what is written means what it says, and nothing else is taken."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.base.errors import InputError, UsageError
from mkold.run.spec import MachineSpec
from mkold.run.sweep import machine_at, parse, points
from mkold.run.table import Table


def test_values_ranges_and_doubling() -> None:
    grid = parse("vcpus=1..3,interval=10:0.5,pages=4k..32kx2,memory-share=50%")
    assert grid == {
        "vcpus": [1, 2, 3], "interval": [10, 0.5], "pages": [4096, 8192, 16384, 32768],
        "memory-share": [0.5],
    }  # fmt: skip
    found = points(grid)
    assert len(found) == 24
    assert found[0] == {"vcpus": 1, "interval": 10, "pages": 4096, "memory-share": 0.5}
    assert [p["vcpus"] for p in found] == [1] * 8 + [2] * 8 + [3] * 8


def test_a_point_makes_its_machine() -> None:
    machine = machine_at({"vcpus": 3, "interval": 20, "tlb-entries": 64}, MachineSpec())
    assert (machine.vcpus, machine.interval_s, machine.tlb_entries) == (3, 0.02, 64)
    with pytest.raises(UsageError, match="TLB"):
        machine_at({"tlb-entries": 100}, MachineSpec())


@pytest.mark.parametrize(
    "text",
    ["", "vcpus", "vcpus=", "vcpus=0", "vcpus=1.5", "vcpus=3..1", "vcpus=1..8x1", "cores=2",
     "vcpus=1,vcpus=2", "pages=1..9999999", "interval=nan", "vcpus=1..", "interval=-3"],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--sweep"):
        parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_grid_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert points(parse(text))


def test_a_table_of_another_sweep_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a[1].parquet"
    first = Table(path, ["vcpus"], "so", force=False)
    first.rows = [{"vcpus": 1, "path": "none", "rate": 0.5, "note": None}]
    first.save()
    again = Table(path, ["vcpus"], "so", force=False)
    assert again.rows == first.rows
    assert again.has({"vcpus": 1})
    for keys, asked in ((["vcpus", "interval"], "so"), (["vcpus"], "not so")):
        with pytest.raises(InputError, match="other options"):
            Table(path, keys, asked, force=False)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is no sweep"):
        Table(path, ["vcpus"], "so", force=False)
