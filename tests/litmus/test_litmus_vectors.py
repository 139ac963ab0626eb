"""Our own litmus tests: each says in its head what the verdict must be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkold.ir.verify import verify
from mkold.litmus import parse, result_comment
from mkold.lkmm import Status, decide

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.litmus"))
_FLAGS = re.compile(r"^ \* Flags: (.+)$", re.M)


def expected_flags(text: str) -> tuple[str, ...]:
    found = _FLAGS.search(text)
    return tuple(sorted(found.group(1).split())) if found else ()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_verdict_and_flags(path: Path) -> None:
    text = path.read_text()
    program = parse(text, str(path))
    verify(program.functions)
    assert program.name == path.stem
    verdict = decide(program, timeout_s=60, hangs=False)
    assert verdict.status is Status.OK
    assert verdict.observation is not None
    assert verdict.observation.value == result_comment(text)
    assert verdict.flags == expected_flags(text)


def test_every_vector_is_found() -> None:
    assert len(VECTORS) >= 150
