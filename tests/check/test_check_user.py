"""Claims of a user's own: the example in the docs, and files that are wrong."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from mkold.base.errors import InputError
from mkold.check import load
from mkold.check.decide import decide_claim
from mkold.ir.variant import Edit

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
    with pytest.raises(InputError, match=r"mine.py:2:1: error: ValueError: no"):
        load.from_file(path)


def test_a_file_without_claims(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no list CLAIMS"):
        load.from_file(write(tmp_path, "CLAIMS = 3\n"))


def test_a_number_picks_its_letters() -> None:
    names = [claim.name for claim in load.select(load.shipped(), ["3"])]
    assert names == ["3a-grace-period-for-barriers", "3b-barrier-regardless"]


def test_a_claim_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no claim named 999"):
        load.select(load.shipped(), ["999"])


DOC = EXAMPLE.parents[1] / "check.md"


def _blocks() -> list[str]:
    """Python blocks of docs/check.md, without their indentation."""
    found = re.findall(r"^( *)```python\n(.*?)^ *```", DOC.read_text(), re.M | re.S)
    return [textwrap.dedent(text) for _, text in found]


def test_the_functions_in_the_docs_are_those_of_the_example() -> None:
    shown, example = _blocks()[0].rstrip(), EXAMPLE.read_text()
    assert shown.replace("\n\n\n", "\n\n") in example.replace("\n\n\n", "\n\n")


def test_every_edit_in_the_docs_is_one() -> None:
    rows = re.findall(r"^ *\| `(\w+)\(", DOC.read_text(), re.M)
    assert sorted(rows) == sorted(edit.__name__ for edit in Edit.__args__)


def test_the_docs_list_every_claim() -> None:
    names = {claim.name for claim in load.shipped()}
    assert names == set(re.findall(r"^\| (\d+[a-c]?-[\w-]+) \|", DOC.read_text(), re.M))


def test_a_newcomer_in_one_file(tmp_path: Path) -> None:
    """The steps of the docs on a structure that is not in them: a flag and a message."""
    path = write(
        tmp_path,
        """
from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, Struct, kernel, smp_rmb, smp_wmb, u64


class Box(Struct):
    data: u64
    full: u64


@kernel
def put(box: Ptr[Box]) -> None:
    WRITE_ONCE(box.data, 7)
    smp_wmb()
    WRITE_ONCE(box.full, 1)


@kernel
def get(box: Ptr[Box]) -> u64:
    if not READ_ONCE(box.full):
        return 7
    smp_rmb()
    return READ_ONCE(box.data)


def setup(m: Setup) -> None:
    box = m.new(Box, "box")
    m.thread("producer", (put, box))
    m.thread("consumer", (get, box))
    m.never("empty", lambda end: end.result("consumer") != 7, "Full, and nothing in it.")


BOX = Scenario("box", setup)
CLAIMS = [
    Claim("box", "Full means full.", "me", (
        Case("as written", BOX),
        Case("no rmb", BOX, (Drop("get:smp_rmb"),), decides=False),
    )),
]
""",
    )
    (claim,) = load.from_file(path)
    result = decide_claim(claim)
    assert result.verdict == "holds"
    assert [case.broken for case in result.cases] == [(), ("empty",)]
