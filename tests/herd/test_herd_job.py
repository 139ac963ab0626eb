"""A litmus file as a job: every outcome is an outcome, with all that one wants to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold.herd import job
from mkold.herd.job import Options, decide_file

HEAD = "C t\n{{ }}\nP0(int *x, int *y)\n{{\n\t{}\n}}\nP1(int *x)\n{{\n\t{}\n}}\n{}\n"


def decided(tmp_path: Path, text: str, **options: object) -> job.Outcome:
    path = tmp_path / "t.litmus"
    path.write_text(text)
    return decide_file(str(path), Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second", "final"),
    [
        ("int r0; r0 = smp_load_acquire(y);", "", "filter (y=2) exists (0:r0=1)"),
        ("int r0; r0 = atomic_fetch_add(1, y);",
         "int r0; r0 = atomic_add_unless(x, 1, 1);", "exists (x=2)"),
        ("int r0; r0 = READ_ONCE(*x);", "WRITE_ONCE(*x, 1);", "exists (0:r0=7)"),
    ],
)  # fmt: skip
def test_nothing_to_explain_is_no_error(
    tmp_path: Path, first: str, second: str, final: str
) -> None:
    outcome = decided(tmp_path, HEAD.format(first, second, final), witness=True)
    assert (outcome.status, outcome.observation) == ("ok", "Never")


def test_an_internal_error_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(job, "_decide", broken)
    outcome = decided(tmp_path, HEAD.format("", "", "exists (x=0)"))
    assert outcome.internal
    assert "internal error: ZeroDivisionError: oh" in outcome.reason
    assert "in broken" in outcome.traceback


@pytest.mark.parametrize(
    "loop",
    [
        "int r0 = 0; while (r0 < 99) { r0 = READ_ONCE(*x); WRITE_ONCE(*x, r0 + 1); }",
        "int r0; again: r0 = READ_ONCE(*x); WRITE_ONCE(*x, r0 + 1); if (r0 < 99) goto again;",
    ],
)
def test_a_bound_that_is_hit_names_the_loop(tmp_path: Path, loop: str) -> None:
    text = HEAD.format(loop, "WRITE_ONCE(*x, 0); WRITE_ONCE(*x, 200);", "exists (x=200)")
    outcome = decided(tmp_path, text)
    assert outcome.bounded
    assert "rounds of the loop in line 5 were not looked at" in outcome.text + outcome.tail
    assert "Observation t Never" in outcome.tail
