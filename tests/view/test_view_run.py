"""The report of ``mkold run``: numbers, tables, stacked charts."""

from __future__ import annotations

import pytest
from view_runs import a_result, a_round

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


def row(text: str, title: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(title))
    return line[len(title) :].split("  ")


def test_a_ratio_is_that_of_its_columns() -> None:
    rounds = [a_round("locked", n) for n in (100, 400, 250)]
    rounds += [a_round("lockless", n, walk_s=0) for n in (400, 400, 800)]
    result = a_result(*rounds)
    locked = result.path("locked")
    assert locked["guest_accesses_per_s"] == pytest.approx(750 / 6)
    assert locked["aging_ns_per_pte"] == pytest.approx(100)
    assert locked["lock_wait_share"] == pytest.approx(0.1)
    assert (locked["fault_p50_us"], locked["fault_max_us"]) == (0.1, 9.0)
    text = run_text([result])
    cells = row(text, "guest accesses per second")
    assert cells[-2].strip() == f"{1600 / 750:.2f}"
    assert "none seen" in cells[-1], "of 4, 1, 3.2"


def test_no_figure_wider_than_a_mail() -> None:
    rounds = [a_round(name, 10**9 + n, faults=10**6) for n in range(4) for name in
              ("none", "locked", "lockless", "locked #2")]  # fmt: skip
    assert max(map(len, run_text([a_result(*rounds)]).splitlines())) <= 100


def test_noise_is_a_line_and_no_column() -> None:
    rounds = [a_round(name, 100 + n) for n in range(4) for name in ("locked", "locked #2")]
    text = run_text([a_result(*rounds)])
    assert "locked #2" not in text
    assert "Noise, locked over itself: guest accesses per second 1.00" in text


def test_nothing_is_made_up_where_nothing_was_measured() -> None:
    rounds = [a_round("none", 5, passes=0, entries=0), a_round("locked", 5)]
    cells = row(run_text([a_result(*rounds)]), "an aging pass, ms")
    assert "-" in [cell.strip() for cell in cells]
    blind = run_text([a_result(a_round("none", 5, passes=0, entries=0))])
    assert "aging pass" not in blind, "no row of nothing"


def test_wrong_values_and_bugs_are_shouted() -> None:
    assert "WRONG: 3 reads" in run_text([a_result(a_round("none", 5, mismatches=3))])
    broken = a_result(a_round("none", 5), failures=("lockless: BUG_ON x",))
    assert "WRONG: lockless: BUG_ON x" in run_text([broken])
    assert broken.wrong


def test_no_result_at_all_is_still_a_report() -> None:
    assert "t: true" in run_text([a_result(failures=("none: BUG_ON",))])


def test_a_repetition_whose_first_was_never_measured_is_no_noise() -> None:
    assert "Noise" not in run_text([a_result(a_round("locked #2", 5))])
