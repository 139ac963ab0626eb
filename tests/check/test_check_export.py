"""Cases as litmus tests: what fits reads back to the same states and races."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold import lkmm
from mkold.base.errors import InputError
from mkold.check import load
from mkold.check.export.litmus_text import export, exports
from mkold.litmus import parse
from mkold.lkmm import Observation

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "claims.py"


def test_the_example_in_the_docs(tmp_path: Path) -> None:
    text = export(load.from_file(EXAMPLE), tmp_path)
    assert text.endswith("5 of 5 cases exported")
    assert len(list(tmp_path.glob("*.litmus"))) == 5


@pytest.mark.parametrize("name", ["2", "3", "8", "13", "14"])
def test_shipped_claims_that_fit(name: str) -> None:
    for done in exports(load.select(load.shipped(), [name])):
        assert done.reason == "", done.label
        verdict = lkmm.decide(parse(done.text, done.name), timeout_s=30)
        assert verdict.observation is Observation.ALWAYS


def test_the_question_can_fail() -> None:
    (done, *_) = exports(load.select(load.shipped(), ["5a"]))
    head, _, condition = done.text.rpartition("forall (")
    fewer = condition.partition(" \\/ ")[0].rstrip("\n)") + "))\n"
    verdict = lkmm.decide(parse(f"{head}forall ({fewer}", done.name), timeout_s=30)
    assert verdict.observation is Observation.SOMETIMES


def test_what_does_not_fit_is_refused_by_name() -> None:
    (done, _) = exports(load.select(load.shipped(), ["19"]))
    assert "srcu_read_lock" in done.reason
    assert done.text == ""


def test_files_are_not_overwritten(tmp_path: Path) -> None:
    claims = load.select(load.shipped(), ["8"])
    export(claims, tmp_path)
    with pytest.raises(InputError):
        export(claims, tmp_path)
    assert "2 of 2" in export(claims, tmp_path, force=True)
