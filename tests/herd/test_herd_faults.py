"""A test that divides by zero or accesses no object gets no answer, but the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold.herd.job import Options, Outcome, decide_file

TEXT = """C t
{{ int a[2] = {{4, 5}}; int *p = &x; }}
P0(int *x, int *y, int *a, int **p)
{{
	int r0;
	int r1;
	int *r2;
	r0 = READ_ONCE(*x);
	smp_rmb();
	r1 = READ_ONCE(*y);
	{}
}}
P1(int *x, int *y, int **p)
{{
	WRITE_ONCE(*y, 1);
	smp_wmb();
	WRITE_ONCE(*x, 2);
	{}
}}
exists (0:r0=2)
"""


def decided(tmp_path: Path, first: str, second: str, *, states: bool) -> Outcome:
    path = tmp_path / "t.litmus"
    path.write_text(TEXT.format(first, second))
    return decide_file(str(path), Options(states=states))


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize(
    ("first", "second", "reason", "col"),
    [
        ("r1 = 6 / r0;", "", "division by zero", 9),
        ("r1 = 6 % (r0 - 2);", "", "division by zero", 9),
        ("r1 = 1 / (r0 + 1); r1 = 6 / (r1 - 1);", "", "division by zero", 28),
        ("r1 /= r0;", "", "division by zero", 5),
        ("*y /= r0;", "", "division by zero", 2),
        ("r0 = a[r0];", "", "an access outside every object", 7),
        ("WRITE_ONCE(a[r0], 1);", "", "an access outside every object", 2),
        ("r0 = READ_ONCE(*r0);", "", "an access", 7),
        ("for (r0 = 0; r0 < 2; r0++) {} a[r0] = 1;", "", "an access outside every object", 32),
        ("r2 = READ_ONCE(*p); r0 = READ_ONCE(*r2);", "WRITE_ONCE(*p, NULL);", "NULL", 27),
        ("r2 = READ_ONCE(*p); r0 = atomic_inc_return(r2 + 1);", "", "outside every", 27),
    ],
)
def test_a_fault_is_refused_where_it_stands(
    tmp_path: Path, first: str, second: str, reason: str, col: int, states: bool
) -> None:
    outcome = decided(tmp_path, first, second, states=states)
    assert outcome.status == "error"
    assert outcome.observation is None
    assert outcome.text == ""
    assert reason in outcome.reason
    assert f"t.litmus:11:{col}: error" in outcome.reason
    assert "hint: an execution gets here" in outcome.reason


@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("if (r0) r1 = 6 / r0;", ""),
        ("r1 = r0 ? 6 / r0 : 0;", ""),
        ("if (r0 == 2) r1 = 6 / r1;", ""),  # LKMM: r1 is 1 then
        ("if (r0 == 2) r1 = a[r1];", ""),
        ("r2 = READ_ONCE(*p); if (r2 != NULL) r0 = READ_ONCE(*r2);", "WRITE_ONCE(*p, NULL);"),
        ("r2 = READ_ONCE(*p); r0 = READ_ONCE(*r2);", "WRITE_ONCE(*p, y);"),
        ("r1 = a[r0 / 2];", ""),
    ],
)
def test_what_no_execution_does_is_no_fault(
    tmp_path: Path, first: str, second: str, states: bool
) -> None:
    outcome = decided(tmp_path, first, second, states=states)
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert outcome.observation in ("Sometimes", "Always")


@pytest.mark.parametrize(
    ("statement", "reason", "col"),
    [
        ("r1 = 6 / 0;", "division by zero", 9),
        ("r1 = 6 % (1 - 1);", "division by zero", 9),
        ("r1 = READ_ONCE(*(a + 7));", "an access outside every object", 17),
        ("r1 = a[2];", "an access outside every object", 7),
        ("x[1] = 1;", "an access outside every object", 2),
        ("WRITE_ONCE(*(int *)5, 1);", "an access outside every object", 13),
        ("r1 = smp_load_acquire(5);", "5 is no address", 24),
        ("r1 = xchg(NULL, 1);", "0 is no address", 12),
    ],
)
def test_a_constant_fault_is_refused_while_reading(
    tmp_path: Path, statement: str, reason: str, col: int
) -> None:
    outcome = decided(tmp_path, f"if (0) {{ {statement} }}", "", states=True)
    assert outcome.status == "error"
    assert reason in outcome.reason
    assert f"t.litmus:11:{col + 9}: error" in outcome.reason
