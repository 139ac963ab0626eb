"""A sample of an outside corpus against herd7's answers, where there is one.

MKOLD_LITMUS_CORPUS names a folder with tests and ``expected.csv`` (columns: bench/litmus.py).
The whole set: ``python bench/litmus.py check FOLDER``.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from mkold.litmus import read
from mkold.lkmm import decide
from mkold.lkmm.verdict import OWN_FLAGS

CORPUS = os.environ.get("MKOLD_LITMUS_CORPUS")
N_SAMPLE = 150


def sample() -> list[dict[str, str]]:
    if not CORPUS:
        return []
    with (Path(CORPUS) / "expected.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["full_status"] == "ok"]
    flagged = [row for row in rows if row["flags"]]
    easy = [row for row in rows if not row["flags"] and float(row["full_cpu_s"]) < 2]
    return flagged[:: max(1, len(flagged) // 20)] + easy[:: max(1, len(easy) // N_SAMPLE)]


@pytest.mark.skipif(not CORPUS, reason="MKOLD_LITMUS_CORPUS names no folder")
@pytest.mark.parametrize("row", sample(), ids=lambda row: row["path"])
def test_agrees_with_herd(row: dict[str, str]) -> None:
    assert CORPUS
    verdict = decide(read(Path(CORPUS) / row["path"]), timeout_s=60)
    assert verdict.observation is not None
    assert verdict.observation.value == row["observation"]
    assert len(verdict.states) == int(row["states"])
    assert set(verdict.flags) - OWN_FLAGS == set(filter(None, row["flags"].split(";")))
