"""The report page: whole in one file, and a browser shows it, light and dark."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from view_runs import a_result, a_round

from mkold.run.activity import WINDOWS, Activity, activity
from mkold.run.program import Program
from mkold.view.report import report_html

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def a_page() -> str:
    names = ("none", "locked", "lockless", "locked #2")
    rounds = [a_round(name, 100 + n) for n in range(4) for name in names]
    heat = np.arange(4 * WINDOWS, dtype=np.float64).reshape(4, WINDOWS)
    seen = Activity(heat, np.arange(WINDOWS))
    return report_html([a_result(*rounds, activity=seen)])


@pytest.mark.slow
def test_nothing_is_fetched_from_anywhere() -> None:
    page = a_page()
    assert page.count("<svg") == 5
    assert not re.search(r"<script|<link|@import|url\(http", page)
    references = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    assert all(reference.startswith("data:") for reference in references)


def test_names_from_files_are_text() -> None:
    result = a_result(a_round("none", 5))
    object.__setattr__(result.trace, "name", "<img src=x onerror=alert(1)>\x1b[31m")
    page = report_html([result])
    assert "<img" not in page
    assert "\x1b" not in page


def test_a_run_without_rounds_has_a_page() -> None:
    assert "<h1>mkold run</h1>" in report_html([a_result(failures=("none: BUG_ON",))])


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="NO BROWSER HERE: the page was not looked at")
def test_a_browser_shows_it_light_and_dark(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(a_page())
    shots = {}
    for name, options in (("light", []), ("dark", ["--force-dark-mode"])):
        picture = tmp_path / f"{name}.png"
        subprocess.run(
            [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             *options, f"--screenshot={picture}", "--window-size=1000,1800",
             f"file://{tmp_path}/page.html"],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        shots[name] = imread(picture)[..., :3]
    assert shots["light"][0, 0].min() > 0.9, "a light ground"
    assert shots["dark"][0, 0].max() < 0.2, "a dark ground"
    for shot in shots.values():
        filled = (np.abs(shot - shot[0, 0]).max(axis=2) > 0.1).mean()
        assert filled > 0.05, "there are pictures on it"


def test_heat_and_working_set_of_a_scan() -> None:
    rows = (np.arange(1200, dtype=np.uint64) << np.uint64(32)) | np.uint64(1 << 1)
    found = activity(Program(rows, rows[:0], 1200))
    assert found.heat.sum() == 1200
    assert set(found.working_set) == {10}
    place, window = np.nonzero(found.heat)
    assert np.abs(place / found.heat.shape[0] - window / WINDOWS).max() < 0.05, "a diagonal"
