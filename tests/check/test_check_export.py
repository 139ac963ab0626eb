"""Cases as litmus tests: what fits reads back to the same states and races."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold import lkmm
from mkold.base.errors import InputError
from mkold.check import Case, Claim, Scenario, Setup, load
from mkold.check.export.litmus_text import export, exports
from mkold.check.many import Limits
from mkold.litmus import parse
from mkold.lkmm import Observation

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "claims.py"


def test_the_example_in_the_docs(tmp_path: Path) -> None:
    text = export(exports(load.from_file(EXAMPLE)), tmp_path)
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
    done = list(exports(load.select(load.shipped(), ["8"])))
    export(done, tmp_path)
    with pytest.raises(InputError):
        export(done, tmp_path)
    assert "2 of 2" in export(done, tmp_path, force=True)


def endless(m: Setup) -> None:
    while True:
        pass


def raises(m: Setup) -> None:
    raise ValueError("no such page")


@pytest.mark.slow
def test_a_case_that_does_not_end_or_fails_takes_only_itself() -> None:
    cases = tuple(Case(f.__name__, Scenario(f.__name__, f)) for f in (endless, raises))
    limits = Limits(jobs=2, timeout_s=0.3)
    claims = [Claim("c", "-", "-", cases), *load.select(load.from_file(EXAMPLE), [])]
    slow, bad, *rest = exports(claims, limits)
    assert slow.reason == "no answer within 0.3 s"
    assert bad.result is not None
    assert "ValueError: no such page" in bad.reason
    assert len(rest) == 5
