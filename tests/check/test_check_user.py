"""Claims of a user's own: the example in the docs, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold.base.errors import InputError
from mkold.check import load
from mkold.check.decide import decide_claim

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "claims.py"


def test_the_example_in_the_docs() -> None:
    verdicts = {c.name: decide_claim(c).verdict for c in load.from_file(EXAMPLE)}
    assert verdicts == {
        "config-freed": "holds",
        "config-torn": "holds",
        "config-plain-publish": "refuted",
    }


def test_what_the_example_breaks() -> None:
    (freed, _, publish) = [decide_claim(c) for c in load.from_file(EXAMPLE)]
    broken = {case.label: case.broken for case in (*freed.cases, *publish.cases)}
    assert broken["as written"] == ()
    assert "use-after-free" in broken["no grace period"]
    assert "use-after-free" in broken["free, then publish"]
    assert broken["WRITE_ONCE"] == ("use-before-init", "torn")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load.from_file(tmp_path / "none.py")


def test_a_file_that_fails_says_where(tmp_path: Path) -> None:
    path = write(tmp_path, "x = 1\nraise ValueError('no')\n")
    with pytest.raises(InputError, match=r"mine.py:2: ValueError: no"):
        load.from_file(path)


def test_a_file_without_claims(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no list CLAIMS"):
        load.from_file(write(tmp_path, "CLAIMS = 3\n"))


def test_a_number_picks_its_letters() -> None:
    names = [claim.name for claim in load.select(load.shipped(), ["3"])]
    assert names == ["3a-grace-period-for-barriers", "3b-barrier-regardless"]


def test_a_claim_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no claim named 99"):
        load.select(load.shipped(), ["99"])
