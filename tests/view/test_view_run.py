"""The report of ``mkold run``: numbers, tables, stacked charts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mkold.run.results import GenerationSample, Round, RunResult, TraceInfo, summarise
from mkold.run.spec import MachineSpec, RunSpec
from mkold.view.chart import Layer, draw_stacked, legend, stacked_cells
from mkold.view.run import run_text
from mkold.view.table import percent, si, text_table

LAYERS = (Layer("low", "░", ".", "34"), Layer("high", "█", "#", "31"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (7, "7"), (999, "999"), (1234, "1.23 k"), (28_800_000, "28.8 M"),
     (2_000_000, "2 M"), (1.5e9, "1.50 G"), (0.123456, "0.12")],
)  # fmt: skip
def test_si(value: float, shown: str) -> None:
    assert si(value) == shown


def test_percent() -> None:
    assert percent(0.0341) == "3.4 %"


def test_table_aligns_numbers_to_the_right() -> None:
    lines = text_table(["", "none"], [["faults", "1,234"], ["x", "5"]])
    assert lines == ["         none", "------  -----", "faults  1,234", "x           5"]


def test_chart_fills_from_the_ground() -> None:
    drawn = draw_stacked([(1, 1), (2, 2), (0, 4)], LAYERS, total=4, height=4)
    assert drawn == [" ██", " ██", "█░█", "░░█"]


def test_chart_scales_and_resamples() -> None:
    samples = [(i, 0) for i in range(100)]
    cells = stacked_cells([(50, 0)], height=10, total=100)
    assert sum(row == [0] for row in cells) == 5
    assert {len(line) for line in draw_stacked(samples, LAYERS, total=100, width=20)} == {20}
    assert draw_stacked([], LAYERS, total=1, height=2) == ["", ""]


def test_plain_terminals_get_plain_glyphs() -> None:
    assert draw_stacked([(1, 1)], LAYERS, total=2, height=2, unicode=False) == ["#", "."]
    assert legend(LAYERS, unicode=False) == ". low  # high"
    assert "\x1b[31m" in legend(LAYERS, colour=True)


def a_round(path: str, accesses: int, **changes: int) -> Round:
    base = Round(
        path=path, elapsed_s=2.0, vcpu_cpu_s=1.0, accesses=accesses, passes=10, entries=1000,
        walk_s=1e-4, lock_wait_s=0.2, swap_wait_s=1.0, reclaim_s=0.0, faults=50, refaults=20,
        recent_refaults=10, evicted=40, young_reported=9, young_true=10, young_agreed=8,
        mismatches=0, generations=(GenerationSample(1.0, (5, 3), 2),),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def a_result(*rounds: Round, **changes: object) -> RunResult:
    names = tuple(dict.fromkeys(r.path for r in rounds))
    paths = tuple(summarise(n, [r for r in rounds if r.path == n], 1) for n in names)
    info = TraceInfo("t", "true", 10, 100, 5)
    result = RunResult(info, MachineSpec(), RunSpec(paths=names), 7, 10, paths, 0.1)
    return replace(result, **changes)  # type: ignore[arg-type]


def row(text: str, title: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(title))
    return line[len(title) :].split("  ")


def test_medians_and_ratios() -> None:
    rounds = [a_round("locked", n) for n in (100, 400, 200)]
    rounds += [a_round("lockless", n, walk_s=0) for n in (400, 400, 800)]
    result = a_result(*rounds)
    locked = result.path("locked")
    assert locked.guest_accesses_per_s == 100
    assert locked.aging_ns_per_pte == pytest.approx(100)
    assert locked.lock_wait_share == pytest.approx(0.1)
    text = run_text(result)
    assert row(text, "guest accesses per second")[-1].strip() == "4.00", "of 4, 1, 4"
    assert "locked 4.0x" in text, "rounds that differ a lot are named"


def test_nothing_is_made_up_where_nothing_was_measured() -> None:
    text = run_text(a_result(a_round("none", 5, passes=0, entries=0)))
    assert row(text, "aging, ns per entry")[-1].strip() == "-"
    assert row(text, "pages reported young")[-1].strip() == "-"


def test_wrong_values_and_bugs_are_shouted() -> None:
    assert "WRONG: 3 reads" in run_text(a_result(a_round("none", 5, mismatches=3)))
    broken = a_result(a_round("none", 5), failures=("lockless: BUG_ON x",))
    assert "WRONG: lockless: BUG_ON x" in run_text(broken)
    assert broken.wrong


def test_no_result_at_all_is_still_a_report() -> None:
    assert "t: true" in run_text(a_result(failures=("none: BUG_ON",)))
