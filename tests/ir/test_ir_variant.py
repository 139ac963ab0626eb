"""Variants: each edit by what it makes of a function, and of its results when run alone."""

import pytest

from mkold.base.errors import InputError
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.ir.nodes import Const, Function, Local, Op, Return
from mkold.ir.text import function_text
from mkold.ir.variant import (
    Before,
    Drop,
    Exchange,
    Force,
    Set,
    Skip,
    Split,
    Swap,
    apply,
    diff,
    sites,
)
from mkold.lang import compile_text

SOURCE = """
from mkold.lang import Ptr, Struct, kernel, parameter, u64
from mkold.lang import READ_ONCE, WRITE_ONCE, cmpxchg, smp_rmb, smp_wmb, try_cmpxchg
LIMIT = parameter("TEST_VARIANT_LIMIT", 5)

class Box(Struct):
    a: u64
    b: u64

@kernel
def helper(box: Ptr[Box]) -> u64:
    smp_rmb()
    return READ_ONCE(box.b)

@kernel
def publish(box: Ptr[Box], n: u64) -> u64:
    WRITE_ONCE(box.a, n)
    smp_wmb()
    WRITE_ONCE(box.b, n + 1)
    if READ_ONCE(box.a) > LIMIT:
        smp_rmb()
        return 100
    return helper(box)

@kernel
def swap(box: Ptr[Box], n: u64) -> tuple[u64, u64]:
    n, seen = try_cmpxchg(box.a, n, 9)
    return n, seen
"""
PARAMS = {"TEST_VARIANT_LIMIT": 5}
BOX = 4096


@pytest.fixture(scope="module")
def functions():
    module = compile_text(SOURCE)
    return dict(collect([module["publish"], module["swap"]]).functions)


def lines(functions, *edits, of="publish") -> list[str]:
    changed = apply(functions, PARAMS, edits)
    return [line.strip() for line in function_text(changed[of]).splitlines()[1:]]


def test_places_have_names(functions):
    names = [site.name for site in sites(functions) if site.function == "publish"]
    assert names == [
        "publish:WRITE_ONCE[0]",
        "publish:smp_wmb[0]",
        "publish:WRITE_ONCE[1]",
        "publish:READ_ONCE[0]",
        "publish:smp_rmb[0]",
    ]
    first = next(site for site in sites(functions) if site.what == "box.b")
    assert first.at is not None


def test_drop(functions):
    plain = lines(functions)
    assert lines(functions, Drop("publish:smp_wmb")) == [x for x in plain if x != "smp_wmb()"]
    assert "a.1 = 0" in lines(functions, Drop("publish:READ_ONCE"))


def test_swap_for_another_order(functions):
    assert "synchronize_rcu()" in lines(functions, Swap("publish:smp_wmb", "synchronize_rcu"))
    assert "a.1 = load(box)" in lines(functions, Swap("publish:READ_ONCE[0]", "load"))


def test_exchange_and_before(functions):
    plain = lines(functions)
    edit = Exchange("publish:WRITE_ONCE[0]", "publish:WRITE_ONCE[1]")
    assert lines(functions, edit)[:3] == [plain[2], plain[1], plain[0]]
    edit = Before("publish:WRITE_ONCE[1]", "publish:WRITE_ONCE[0]")
    assert lines(functions, edit)[:3] == [plain[2], plain[0], plain[1]]


@pytest.mark.parametrize(("taken", "result"), [(0, 10), (1, 100)])
def test_force(functions, taken, result):
    changed = apply(functions, PARAMS, (Force("publish:READ_ONCE", taken),))
    assert Interpreter(changed, {}).call("publish", BOX, 9) == (result,)


def test_set_and_skip(functions):
    changed = apply(functions, PARAMS, (Set("TEST_VARIANT_LIMIT", 50), Skip("helper")))
    assert Interpreter(changed, {}).call("publish", BOX, 9) == (0,)


def test_a_compare_and_swap_that_always_succeeds(functions):
    for prim in ("xchg", "WRITE_ONCE", "store"):
        changed = apply(functions, PARAMS, (Swap("swap:try_cmpxchg", prim),))
        memory = {BOX: 3}
        assert Interpreter(changed, memory).call("swap", BOX, 4) == (1, 4)
        assert memory[BOX] == 9


def test_a_split_bit_operation_keeps_to_its_word():
    """That halves compute the same is tested row by row (``every_row``)."""
    op = Op("set_bit", (), (Local("p"), Const(70)))
    functions = {"f": Function("f", ("p",), (op, Return()))}
    split = apply(functions, {}, (Split("f:set_bit"),))
    assert "WRITE_ONCE(p + 1, set_bit.old | 64)" in function_text(split["f"])


WRONG = [
    Drop("publish:smp_mb"),
    Drop("missing:smp_mb"),
    Drop("publish:WRITE_ONCE"),
    Drop("publish:WRITE_ONCE[2]"),
    Swap("publish:smp_wmb", "smp_xmb"),
    Swap("publish:smp_wmb", "READ_ONCE"),
    Split("publish:smp_wmb"),
    Exchange("publish:smp_wmb", "helper:smp_rmb"),
    Force("publish:smp_rmb", 1),
    Set("NO_SUCH", 1),
    Skip("missing"),
]


@pytest.mark.parametrize("edit", WRONG, ids=repr)
def test_an_edit_that_fits_nowhere_says_so(functions, edit):
    with pytest.raises(InputError):
        apply(functions, PARAMS, (edit,))


def test_the_diff_shows_what_changed(functions):
    before = apply(functions, PARAMS, ())
    after = apply(functions, PARAMS, (Drop("publish:smp_wmb"),))
    assert diff(before, before) == ""
    assert [x for x in diff(before, after).splitlines() if x[0] in "+-" and x[1:2] == " "] == [
        "-  smp_wmb()"
    ]
