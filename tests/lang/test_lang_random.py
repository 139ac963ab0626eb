"""Random functions: Python, the interpreter and the machine code agree.

The source is evaluated three ways: as Python over a class of 64-bit words, by the
interpreter of the intermediate form, and natively.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.ir.verify import verify
from mkold.lang import compile_text
from mkold.native import Memory, build

MASK = (1 << 64) - 1
NAMES = ("a", "b", "c")


class Word(int):
    """Python's integers with a word's arithmetic."""

    def __add__(self, o):
        return Word((int(self) + int(o)) & MASK)

    def __sub__(self, o):
        return Word((int(self) - int(o)) & MASK)

    def __mul__(self, o):
        return Word((int(self) * int(o)) & MASK)

    def __floordiv__(self, o):
        return Word(int(self) // int(o)) if o else Word(0)

    def __mod__(self, o):
        return Word(int(self) % int(o)) if o else Word(0)

    def __lshift__(self, o):
        return Word((int(self) << int(o)) & MASK) if o < 64 else Word(0)

    def __rshift__(self, o):
        return Word(int(self) >> int(o)) if o < 64 else Word(0)

    def __and__(self, o):
        return Word(int(self) & int(o))

    def __or__(self, o):
        return Word(int(self) | int(o))

    def __xor__(self, o):
        return Word(int(self) ^ int(o))

    def __invert__(self):
        return Word(~int(self) & MASK)

    def __neg__(self):
        return Word(-int(self) & MASK)


words = st.one_of(
    st.integers(0, 8), st.integers(60, 66), st.integers(0, MASK), st.integers(MASK - 3, MASK)
)
atoms = st.one_of(
    words.map(lambda n: f"W({n})"), st.sampled_from(NAMES), st.sampled_from(["p[0]", "p[1]"])
)


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"])
    tests = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    condition = st.builds("({} {} {})".format, inner, tests, inner)
    return st.one_of(
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("(~{})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("W({})".format, condition),
        st.builds("W(not {})".format, inner),
        st.builds("W({} and {})".format, condition, condition),
        st.builds("W({} or {})".format, condition, condition),
        st.builds("({} if {} else {})".format, inner, condition, inner),
        st.builds("min({}, {})".format, inner, inner),
        st.builds("max({}, {})".format, inner, inner),
    )


expressions = st.recursive(atoms, _combine, max_leaves=8)
simple = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(NAMES), expressions),
    st.builds("{} += {}".format, st.sampled_from(NAMES), expressions),
    st.builds("p[{}] = {}".format, st.integers(0, 1), expressions),
    st.builds("p[{}] ^= {}".format, st.integers(0, 1), expressions),
    st.builds("{0}, {1} = {1}, {2}".format, st.just("a"), st.just("b"), expressions),
)


def _nest(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    def block(head: str, body: list[str]) -> list[str]:
        return [head, *("    " + line for line in body)]

    return st.one_of(
        st.builds(lambda x, y: x + y, inner, inner),
        st.builds(
            lambda e, x, y: block(f"if {e}:", x) + block("else:", y), expressions, inner, inner
        ),
        st.builds(lambda n, x: block(f"for i in range({n}):", x), st.integers(0, 4), inner),
        st.builds(
            lambda e, x: block("for i in range(3):", [f"if {e}:", "    break", *x]),
            expressions,
            inner,
        ),
        st.builds(
            lambda e, x: block("for i in range(3):", [*x, f"if {e}:", "    continue", *x]),
            expressions,
            inner,
        ),
    )


bodies = st.recursive(simple.map(lambda line: [line]), _nest, max_leaves=6)


@pytest.fixture(autouse=True, scope="module")
def _cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MKOLD_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(bodies, words, words, words)
def test_three_readings_of_one_function_agree(body, a, b, c):
    lines = "\n".join("    " + line for line in body)
    source = (
        f"def f(p: Ptr[u64], a: u64, b: u64, c: u64) -> u64:\n{lines}\n    return a ^ b ^ c\n"
    )

    names = {"W": Word, "Ptr": list, "u64": int}
    exec(source, names)
    python_memory = [Word(7), Word(9)]
    expected = names["f"](python_memory, Word(a), Word(b), Word(c))

    kernel_source = source.replace("W(", "u64_of(")
    module = compile_text(
        "from mkold.lang import *\n@kernel\ndef u64_of(n: u64) -> u64:\n    return n\n\n"
        f"@kernel\n{kernel_source}"
    )
    functions = collect([module["f"]]).functions
    verify(functions)
    memory = {5000: 7, 5001: 9}
    assert Interpreter(functions, memory).call("f", 5000, a, b, c) == (int(expected),)
    assert [memory[5000], memory[5001]] == python_memory

    native = Memory(BOOT_WORDS + 1024)
    native.words[5000:5002] = 7, 9
    result = build([module["f"]], checked=len(body) % 2).call("f", native, 0, 5000, a, b, c)
    assert result == int(expected)
    assert native.words[5000:5002].tolist() == python_memory
