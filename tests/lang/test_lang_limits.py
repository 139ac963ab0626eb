"""Large and deep source: an answer or a clear error, never a stack that runs out."""

from __future__ import annotations

import pytest

from mkold.base.errors import InputError, SourceError
from mkold.check import Case, Claim, Scenario
from mkold.check.decide import decide_claim
from mkold.ir.boot import BOOT_WORDS
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.module import collect
from mkold.ir.nodes import If, Unary, parts, walk
from mkold.ir.verify import verify
from mkold.lang import compile_text
from mkold.native import Memory, build

HEAD = "from mkold.lang import *\nfrom mkold.lang import BUG_ON, READ_ONCE, WRITE_ONCE\n"


def run(text: str, *args: int) -> int:
    functions = collect([compile_text(HEAD + text)["f"]]).functions
    verify(functions)
    (result,) = Interpreter(functions, {}).call("f", *args)
    return result


def test_a_sum_of_thousands_of_terms():
    terms = " + ".join(["n"] * 2000)
    assert run(f"@kernel\ndef f(n: u64) -> u64:\n    return {terms}\n", 2) == 4000
    ones = " + ".join(["1"] * 2000)
    assert run(f"@kernel\ndef f() -> u64:\n    return {ones}\n") == 2000
    mixed = " + ".join(["READ_ONCE(p.value) + n"] * 900)
    text = f"@kernel\ndef f(p: Ptr[u64], n: u64) -> u64:\n    return {mixed}\n"
    assert run(text, 9, 2) == 1800


def test_more_than_python_takes_is_said_so():
    terms = " + ".join(["n"] * 9000)
    with pytest.raises(InputError, match="too deep for Python's compiler"):
        compile_text(f"{HEAD}@kernel\ndef f(n: u64) -> u64:\n    return {terms}\n")


def test_no_expression_is_deep_in_the_form():
    terms = " + ".join(["n"] * 2000)
    module = compile_text(f"{HEAD}@kernel\ndef f(n: u64) -> u64:\n    return {terms}\n")
    deepest = 0
    for stmt in walk(module["f"].lowered.body):
        values = getattr(stmt, "values", None) or (getattr(stmt, "value", Unary),)
        deepest = max(deepest, *(sum(1 for _ in parts(v)) for v in values))
    assert deepest < 200


def test_a_function_of_thousands_of_lines():
    lines = "\n".join(f"    x = x + {i}" for i in range(4000))
    assert (
        run(f"@kernel\ndef f(n: u64) -> u64:\n    x = n\n{lines}\n    return x\n", 1) == 7998001
    )


def test_an_elif_chain_of_a_thousand():
    arms = "\n".join(f"    elif n == {i}:\n        x = {i} + 7" for i in range(1, 1000))
    text = f"@kernel\ndef f(n: u64) -> u64:\n    x = 0\n    if n == 0:\n        x = 1\n{arms}\n"
    text += "    else:\n        x = 5\n    return x\n"
    assert [run(text, n) for n in (0, 1, 999, 1000)] == [1, 8, 1006, 5]


def test_a_short_chain_stays_nested():
    text = "@kernel\ndef f(n: u64) -> u64:\n    if n:\n        return 1\n    elif n == 2:\n"
    text += "        return 2\n    return 3\n"
    (branch, _) = compile_text(HEAD + text)["f"].lowered.body
    assert isinstance(branch, If)
    assert isinstance(branch.orelse[0], If)


@pytest.mark.parametrize(
    "expression",
    ["not " * 150 + "n", "-" * 150 + "n", "f2(" * 150 + "n" + ")" * 150,
     "(1 if n else " * 150 + "n" + ")" * 150, "n and (" * 150 + "n" + ")" * 150],
    ids=["not", "minus", "calls", "choices", "ands"],
)  # fmt: skip
def test_what_is_too_deep_says_so(expression):
    text = f"{HEAD}@kernel\ndef f2(n: u64) -> u64:\n    return n\n"
    text += f"@kernel\ndef f(n: u64) -> u64:\n    return {expression}\n"
    with pytest.raises(SourceError, match="levels in each other"):
        compile_text(text)


def test_what_is_not_that_deep_is_read():
    assert run("@kernel\ndef f(n: u64) -> u64:\n    return " + "-" * 60 + "n\n", 5) == 5


def chain(n: int):
    text = "@kernel\ndef f0(n: u64) -> u64:\n    BUG_ON(n == 0)\n    return n\n"
    for i in range(1, n):
        text += f"@kernel\ndef f{i}(n: u64) -> u64:\n    return f{i - 1}(n) + 1\n"
    return compile_text(HEAD + text)[f"f{n - 1}"]


@pytest.mark.slow
def test_more_than_a_thousand_calls_deep():
    last = chain(1200)
    module = collect([last])
    assert len(module.functions) == 1200
    verify(module.functions)
    assert build([last]).call("f1199", Memory(BOOT_WORDS), 0, 1) == 1200
    with pytest.raises(InterpretError, match="too deep"):
        Interpreter(module.functions, {}).call("f1199", 1)


def test_a_call_that_deep_in_a_scenario():
    last = chain(1200)
    (case,) = decide_claim(claim(lambda m: m.thread("t", (last, 1)))).cases
    assert case.status in ("holds", "undecided")
    with pytest.raises(InputError, match="f1199 stops: calls too deep"):
        decide_claim(claim(lambda m: m.call(last, 1)))


def claim(setup) -> Claim:
    return Claim("deep", "-", "-", (Case("-", Scenario("deep", setup)),))


def test_mutual_recursion_is_refused_where_it_stands():
    text = (
        "@kernel\ndef even(n: u64) -> u64:\n    return odd(n - 1)\n"
        "@kernel\ndef odd(n: u64) -> u64:\n    return even(n - 1)\n"
    )
    with pytest.raises(SourceError, match="odd is not defined") as caught:
        compile_text(HEAD + text)
    assert "defined before" in caught.value.hint


def test_a_struct_that_holds_itself():
    text = 'class A(Struct):\n    a: "B"\n\nclass B(Struct):\n    b: "A"\n'
    with pytest.raises(InputError, match="struct A holds itself"):
        _ = compile_text(HEAD + text)["A"].size


def test_a_name_of_the_function_around():
    text = "def make(n):\n    @kernel\n    def f() -> u64:\n        return n\n"
    text += "    return f\nmake(3)\n"
    with pytest.raises(SourceError, match="no closures"):
        compile_text(HEAD + text)
