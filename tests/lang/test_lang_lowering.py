"""What accepted constructs mean: lowered text, and results under the interpreter."""

import pytest

from mkold.base.errors import InputError
from mkold.ir.edit import bind
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.ir.text import function_text
from mkold.ir.verify import verify
from mkold.lang import Array, Ptr, Struct, compile_text, u64

HEADER = """
from enum import IntEnum
from mkold.lang import *
from mkold.lang import READ_ONCE, WRITE_ONCE, try_cmpxchg, atomic_fetch_add

BITS = parameter("TEST_BITS", 4)
SIZE = 1 << BITS

class Color(IntEnum):
    RED = 1
    BLUE = 2

class Pair(Struct):
    a: u64
    b: u64

class Node(Struct):
    key: u64
    next: "Ptr[Node]"
    pair: Pair
    words: Array[u64, 4]
    pairs: Array[Pair, 2]
    flag: bool

class Tagged(Pair):
    tag: u64

@kernel
def first(pair: Ptr[Pair]) -> u64:
    return pair.a

@kernel
def divide(a: u64, b: u64) -> tuple[u64, u64]:
    return a // b, a % b

@kernel
def count(p: Ptr[u64]) -> bool:
    p.value += 1
    return p.value > 2
"""
P = 5000  # where the node lies


def evaluate(body: str, n: int = 0, memory: dict[int, int] | None = None, **params: int):
    indented = "\n".join("    " + line for line in body.splitlines())
    text = HEADER + "@kernel\ndef f(p: Ptr[Node], n: u64) -> u64:\n" + indented + "\n"
    module = collect([compile_text(text)["f"]])
    verify(module.functions)
    bound = bind(module.functions, module.values(params))
    (result,) = Interpreter(bound, {} if memory is None else memory).call("f", P, n)
    return result


CASES = [
    ("return -1", 0, (1 << 64) - 1),
    ("return n - 1 > 5", 0, 1),
    ("return ~n >> 60", 0, 15),
    ("return Color.BLUE + SIZE", 0, 18),
    ("return Node.size * 100 + Node.offset('pair')", 0, 1302),
    ("q, r = divide(17, 5)\nreturn q * 10 + r", 0, 32),
    ("a, b = 1, 2\na, b = b, a\nreturn a * 10 + b", 0, 21),
    ("t = 0\nfor i in range(5):\n    t += i\n    i = 100\nreturn t", 0, 10),
    ("t = 0\nfor i in range(2, 9, 3):\n    t = t * 10 + i\nreturn t", 0, 258),
    ("t = 0\nfor i in range(3, -1, -1):\n    t = t * 10 + i\nreturn t", 0, 3210),
    ("t = 0\nfor i in range(9):\n    if i == 2:\n        continue\n"
     "    if i == 5:\n        break\n    t = t * 10 + i\nreturn t", 0, 134),
    ("while True:\n    x = n\n    n -= 1\n    if n < 3:\n        break\nreturn x", 9, 3),
    ("return 1 if n > 3 else 2", 4, 1),
    ("return min(n, 7, 9) * 10 + max(n, 3)", 8, 78),
    ("return 1 < n < 5 and not n == 3", 4, 1),
    ("return bool(n) + (n or 0)", 8, 2),
    ("if n > 1 or n == 0:\n    return 5\nelif n:\n    return 6\nreturn 7", 1, 6),
    ("return addr(p.pairs[1].b) - addr(p.pairs[0].b)", 0, 2),
    ("return cast(u64, p + 1) - cast(u64, p)", 0, 13),
    ("return (p + 3) - p", 0, 3),
    ("q = NULL\nif n:\n    q = p\nreturn q == NULL", 0, 1),
    ("assert n == 4\nreturn n", 4, 4),
    ("x: bool = n\ny = p.flag and x\nreturn y", 4, 0),
    ("p.flag = n\nx: bool = n * 2\nreturn (p.flag and x) * 10 + (p.flag or 0)", 4, 11),
    ("_, x = divide(n, 5)\nreturn x", 14, 4),
    ("for i in range(3):\n    if i == n:\n        break\nelse:\n    return 7\nreturn 8", 5, 7),
    ("for i in range(3):\n    if i == n:\n        break\nelse:\n    return 7\nreturn i", 2, 2),
    ("while n > 3:\n    n -= 1\n    if n == 5:\n        continue\n    if n == 4:\n"
     "        break\nelse:\n    n = 100\nreturn n", 9, 4),
    ("while n:\n    n -= 1\nelse:\n    n = 100\nreturn n", 2, 100),
    ("t = 0\nfor i in range(2):\n    for j in range(2):\n        if i == n:\n"
     "            break\n    else:\n        continue\n    t = 10 + i\n    break\nelse:\n"
     "    t = 5\nreturn t", 1, 11),
    ("t = 0\nfor i in range(-2, 2):\n    t = t * 10 + (i < 0)\nreturn t", 0, 1100),
    ("t = 0\nk: u8 = 3\nfor i in range(k, -1, -1):\n    t = t * 10 + i\nreturn t", 0, 3210),
    ("return 1 < n < 5 < Color.BLUE + n", 4, 1),
    ("return (1 << 64) - 1 - n", 5, (1 << 64) - 6),
    ("return (1 << 70) >> 66", 0, 16),
    ("x = -1\nreturn x < 0", 0, 1),
    ("x: u8 = -1\nreturn x", 0, 255),
    ("x: u8 = 250\nx += 10\nreturn x", 0, 4),
    ("x: s8 = 127\nx += 1\nreturn x < 0", 0, 1),
    ("return cast(u8, n) + 1", 511, 256),
    ("return cast(s8, n) < 0", 200, 1),
    ("x: int = 5\ny: int = -2\nreturn x // y == -2 and x % y == 1", 0, 1),
    ("x: bool = n\nreturn x + 1", 9, 2),
    ("x: s32 = -1\nreturn x >> 1 == -1", 0, 1),
    ("x: u32 = -1\nreturn x >> 1", 0, 0x7FFFFFFF),
    ("return min(cast(s8, n), 3) < 0", 255, 1),
    ("return addr(p.key) == addr(p.words[0]) - 4", 0, 1),
    ("f = divide\nq, r = f(17, n)\nreturn q * 10 + r", 5, 32),
]  # fmt: skip


@pytest.mark.parametrize(("body", "n", "expected"), CASES, ids=[c[0] for c in CASES])
def test_it_means_what_the_docs_say(body, n, expected):
    assert evaluate(body, n) == expected


def test_places_are_where_the_layout_says():
    memory: dict[int, int] = {}
    body = """
p.key = 1
p.pair.b = 2
p.words[n] = 3
p.pairs[n - 1].a = 4
p.next = p
p.next.words[0] = 5
WRITE_ONCE(p.next.pairs[0].b, READ_ONCE(p.key) + 9)
p.key <<= 3
return p.next.next.key
"""
    assert evaluate(body, 2, memory) == 8
    assert memory == {P: 8, P + 1: P, P + 3: 2, P + 6: 3, P + 10: 4, P + 4: 5, P + 9: 10}


def test_a_struct_may_begin_with_another():
    memory = {P: 7, P + 1: 8, P + 2: 9}
    body = "t = cast(Ptr[Tagged], p)\nreturn t.tag * 100 + first(t) * 10 + t.b"
    assert evaluate(body, memory=memory) == 978


@pytest.mark.parametrize(
    ("body", "n", "calls"),
    [
        ("x = n and count(addr(p.key))\nreturn x", 0, 0),
        ("x = n and count(addr(p.key))\nreturn x", 1, 1),
        ("x = n or count(addr(p.key))\nreturn x", 1, 0),
        ("x = n or count(addr(p.key))\nreturn x", 0, 1),
        ("x = count(addr(p.key)) if n else 7\nreturn x", 0, 0),
        ("while not count(addr(p.key)):\n    pass\nreturn 0", 0, 3),
    ],
)
def test_only_what_is_needed_is_evaluated(body, n, calls):
    memory: dict[int, int] = {}
    evaluate(body, n, memory)
    assert memory.get(P, 0) == calls


def test_a_build_parameter_is_bound_late():
    assert evaluate("return SIZE", TEST_BITS=9) == 512
    text = HEADER + "\n@kernel\ndef g() -> u64:\n    return SIZE\n"
    functions = collect([compile_text(text)["g"]]).functions
    with pytest.raises(InputError, match="TEST_BITS"):
        bind(functions, {})


def test_the_text_reads_like_the_source():
    text = """
@kernel
def clear(p: Ptr[Node], i: u64) -> bool:
    old = READ_ONCE(p.words[i])
    if not old & 4:
        return False
    ok, old = try_cmpxchg(p.words[i], old, old & ~4)
    return ok
"""
    function = compile_text(HEADER + text)["clear"]
    assert function_text(function.ir).splitlines() == [
        "function clear(p, i) -> 1",
        "  old = READ_ONCE((p + 4) + i)",
        "  if !(old & 4):",
        "    return 0",
        "  ok, old = try_cmpxchg((p + 4) + i, old, old & 0xfffffffffffffffb)",
        "  return ok",
    ]
    read = function.ir.body[0]
    assert read.what == "p.words[i]"
    assert (
        read.at.line
        == (HEADER + text).splitlines().index("    old = READ_ONCE(p.words[i])") + 1
    )


def test_functions_that_share_a_name_are_told_apart():
    first = compile_text(HEADER + "\n@kernel\ndef g() -> u64:\n    return 1\n", "one")
    second = compile_text(HEADER + "\n@kernel\ndef g() -> u64:\n    return 2\n", "two")
    both = collect([first["g"], second["g"]]).functions
    assert sorted(both) == ["one.g", "two.g"]
    caller = compile_text(
        "from mkold.lang import *\n@kernel\ndef h() -> u64:\n    return 3\n", "three"
    )
    assert sorted(collect([first["g"], caller["h"]]).functions) == ["g", "h"]


def test_a_layout_in_words():
    class Inner(Struct):
        a: u64
        b: Array[u64, 3]

    class Outer(Struct):
        first: Ptr[Inner]
        inner: Inner
        many: Array[Inner, 2]
        flag: bool

    assert (Inner.size, Outer.size) == (4, 14)
    assert [f.offset for f in Outer.layout.fields] == [0, 1, 5, 13]
    assert Outer.offset("flag") == 13
    with pytest.raises(InputError, match="no field z"):
        Outer.offset("z")
