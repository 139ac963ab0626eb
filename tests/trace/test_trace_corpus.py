"""Traces as people have them, from an outside folder, where there is one.

MKOLD_INPUTS_CORPUS names a folder with files and ``expected.csv``: columns ``file`` and ``what
should happen``, which says "N accesses (R reads, W writes), P pages" of what is to be taken.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest

from mkold.trace.formats.door import open_trace

CORPUS = os.environ.get("MKOLD_INPUTS_CORPUS")
WANTED = re.compile(r"(\d+) accesses \((\d+) reads?, (\d+) writes?\),? (\d+) pages?")
SAMPLES = re.compile(r"\((\d+) reads?, (\d+) writes?, (\d+) pages?\)")


def wanted() -> list[tuple[str, tuple[int, int, int]]]:
    """File; reads, writes and pages of each that is to be taken."""
    if not CORPUS:
        return []
    found = []
    with (Path(CORPUS) / "expected.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            said = row["what should happen"].replace("data accesses", "accesses")
            if "taken" not in said or row["file"].endswith(".py"):
                continue
            if match := SAMPLES.search(said):
                reads, writes, pages = match.groups()
            elif match := WANTED.search(said):
                reads, writes, pages = match.groups()[1:]
            else:
                continue
            found.append((row["file"], (int(reads), int(writes), int(pages))))
    return found


@pytest.mark.skipif(not CORPUS, reason="MKOLD_INPUTS_CORPUS names no folder")
@pytest.mark.parametrize(("name", "counts"), wanted())
def test_is_taken_as_wanted(name: str, counts: tuple[int, int, int]) -> None:
    assert CORPUS
    header = open_trace(Path(CORPUS) / name)[0].header
    assert (header.n_reads, header.n_writes, header.n_pages) == counts
