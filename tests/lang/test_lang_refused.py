"""What is outside kernel Python: each refused where it stands, with reason and hint."""

import pickle
import textwrap

import pytest

from mkold.base.errors import InputError, SourceError
from mkold.lang import compile_text

HEADER = """
from enum import IntEnum
from mkold.lang import *
from mkold.lang import (READ_ONCE, WRITE_ONCE, BUG_ON, cmpxchg, try_cmpxchg, spin_lock,
    READ_ONCE_WHICH, prefetch, smp_mb, smp_cond_load_acquire)

class Node(Struct):
    key: u64
    next: "Ptr[Node]"
    words: Array[u64, 4]
    half: u32

class Other(Struct):
    key: u64

class Longer(Node):
    more: u64

@kernel
def longer(node: Ptr[Longer]) -> u64:
    return node.more

@kernel
def narrow(n: u8) -> u64:
    return n

SIZE = parameter("SIZE", 4)
RATIO = 0.5
TEXT = "text"

@kernel
def helper(node: Ptr[Node], n: u64) -> u64:
    return node.key + n

@kernel
def two(n: u64) -> tuple[u64, u64]:
    return n, n

@kernel
def callback(word: u64) -> None:
    pass

def python_function(n):
    return n
"""

# Each case: the statements of a function f(p: Ptr[Node], n: u64) -> u64, with the culprit
# between « and », and a part of the reason.
STATEMENTS = [
    ("x = «1.5»\nreturn 0", "float"),
    ("x = «'text'»\nreturn 0", "str"),
    ("x = «None»\nreturn 0", "None"),
    ("x = «[1, 2]»\nreturn 0", "a list"),
    ("x = «{1: 2}»\nreturn 0", "a dictionary"),
    ("x = «{1, 2}»\nreturn 0", "a set"),
    ("x = «[i for i in range(3)]»\nreturn 0", "comprehension"),
    ("x = «(1, 2)»\nreturn 0", "tuple"),
    ("x = «lambda: 3»\nreturn 0", "lambda"),
    ("x = «f'{n}'»\nreturn 0", "string"),
    ("x = («y := 3»)\nreturn 0", "assignment inside an expression"),
    ("x = «n / 2»\nreturn 0", "fractions"),
    ("x = «n ** 2»\nreturn 0", "**"),
    ("return «n is p»", "is compares"),
    ("return «n in p»", "in is not"),
    ("«raise ValueError»", "exceptions"),
    ("«try:»\n    pass\nexcept ValueError:\n    pass\nreturn 0", "exceptions"),
    ("«with n:»\n    pass\nreturn 0", "with"),
    ("«import os»\nreturn 0", "import"),
    ("«global x»\nreturn 0", "global"),
    ("«del n»\nreturn 0", "del"),
    ("«def g():»\n    pass\nreturn 0", "function inside"),
    ("«class C:»\n    pass\nreturn 0", "class"),
    ("«match n:»\n    case 1:\n        pass\nreturn 0", "match"),
    ("for i in «p»:\n    pass\nreturn 0", "range"),
    ("for i in range(0, 9, «n»):\n    pass\nreturn 0", "step"),
    ("«yield n»", "generator"),
    ("«a = b = n»\nreturn 0", "a = b = ..."),
    ("«n + 1»\nreturn 0", "no effect"),
    ("return «missing»", "not defined"),
    ("return «RATIO»", "float"),
    ("return «helper»", "function"),
    ("return «python_function(n)»", "Python function"),
    ("return «n.bit_length()»", "methods"),
    ("return helper(p, «n=n»)", "keyword"),
    ("return «f»(p, n)", "recursion"),
    ("return «helper(p)»", "takes 2 arguments"),
    ("return helper(«n», n)", "wants Ptr[Node]"),
    ("return longer(«p»)", "wants Ptr[Longer]"),
    ("return helper(«*p»)", "unpacking"),
    ("return «p.missing»", "no field missing"),
    ("return «n.key»", "has no fields"),
    ("return «n[0]»", "not an array"),
    ("return «p.words»", "array in memory"),
    ("return «p.words[4]»", "outside"),
    ("return READ_ONCE(«p»)", "a place in memory is needed"),
    ("return READ_ONCE(«n + 1»)", "a place in memory is needed"),
    ("return READ_ONCE(«p.words»)", "one word"),
    ("return «READ_ONCE(p.key, n)»", "takes 1 argument"),
    ("return READ_ONCE_WHICH(p.words[0], «n», 1)", "no constant"),
    ("return READ_ONCE_WHICH(p.words[0], «65», 1)", "a word has 64"),
    ("prefetch(«p.words»)", "array in memory"),
    ("return «prefetch(p)»", "returns nothing"),
    ("x = «two(n)»\nreturn x", "returns 2 values"),
    ("a, b, c = «two(n)»\nreturn a", "3 names"),
    ("x = «smp_mb()»\nreturn x", "returns nothing"),
    ("call_rcu(«two», n)\nreturn 0", "another kind"),
    ("call_rcu(«n», n)\nreturn 0", "function"),
    ("p = «cast(Ptr[Other], n)»\nreturn 0", "p is Ptr[Node]"),
    ("x: Ptr[«Missing»] = NULL\nreturn 0", "Missing is not defined"),
    ("x: «float» = 0\nreturn 0", "float"),
    ("«x: u64»\nreturn 0", "needs a value"),
    ("return «18446744073709551616»", "64-bit"),
    ("if n:\n    x = 1\n«return x»", "before it is assigned"),
    ("«x += 1»\nreturn x", "before it is assigned"),
    ("if n:\n    return 1\n«n = 2»", "without a return"),
    ("«return»", "returns 1 value"),
    ("«return n, n»", "returns 1 value"),
    ("x = «NULL + 1»\nreturn 0", "NULL can't be moved"),
    ("return «p + p»", "sum of two pointers"),
    ("x: u8 = «300»\nreturn x", "300 does not fit a u8"),
    ("x: u8 = «-129»\nreturn x", "-129 does not fit a u8"),
    ("x: s8 = «128»\nreturn x", "128 does not fit an s8"),
    ("x: bool = «2»\nreturn x", "2 does not fit a bool"),
    ("p.half = «1 << 32»\nreturn 0", "does not fit a u32"),
    ("WRITE_ONCE(p.half, «-1 << 32»)\nreturn 0", "does not fit a u32"),
    ("return narrow(«256»)", "256 does not fit a u8"),
    ("return «1 << 70»", "does not fit a 64-bit word"),
    ("x = «(1 << 64) + 1»\nreturn x", "does not fit a 64-bit word"),
    ("return n + («1 << 64»)", "does not fit a 64-bit word"),
    ("return «1 << 100000000»", "a shift by 100000000 bits"),
    ("return «1 >> -1»", "a shift by -1 bits"),
    ("return «n < 0»", "has no sign, so this is never true"),
    ("return «n >= 0»", "has no sign, so this is always true"),
    ("return «0 > n»", "never true"),
    ("return «n // 0»", "division by zero"),
    ("return «n % (3 - 3)»", "division by zero"),
    ("x = cast(u8, n)\nx = «n»\nreturn x", "x is u8 since its first value"),
    ("x = n == 1\nx |= «n»\nreturn x", "x is bool since its first value"),
    ("x: u8 = 1\n«x: u64 = 2»\nreturn x", "x is u8 already"),
    ("x: u8 = «p»\nreturn x", "an address does not fit a u8"),
    ("return «n(3)»", "n can't be called: it is u64"),
    ("x = cast(Fn[[u64], u64], n)\nreturn «x(1, 2)»", "x takes 1 argument, not 2"),
    ("x = narrow\nx = «helper»\nreturn 0", "x is Fn[[u8], u64]"),
    ("x = cast(«Fn[u64]», n)\nreturn 0", "Fn takes a list of types"),
    ("x = cast(Ptr[«Array[u64, 0]»], n)\nreturn 0", "from 1 to"),
    ("x = cast(Ptr[«Array[u64, 1 << 40]»], n)\nreturn 0", "from 1 to"),
    ("x = cast(Ptr[Array[u64, «SIZE»]], n)\nreturn 0", "no constant"),
    ("return byte(p.key, «n»)", "the number of a byte is a constant"),
    ("return «byte(p.half, 4)»", "p.half has bytes 0 to 3"),
    ("return cmpxchg(«byte(p.key, 1)», 0, 1)", "does not work on a part"),
    ("return addr(«byte(p.key, 1)»)", "part of a word, which has no address"),
    ("return «smp_rmb»()", "smp_rmb is not defined"),
    ("VAL = 1\nreturn smp_cond_load_acquire(p.key, «VAL == n»)", "VAL is what is at the place"),
    ("return smp_cond_load_acquire(p.key, «VAL == p.half»)", "reads no other memory"),
    ("return smp_cond_load_acquire(«n», VAL)", "a place in memory is needed"),
    ("return «VAL»", "VAL has a value only inside"),
    ("for i in «range(p)»:\n    pass\nreturn 0", "a range counts numbers"),
    ("s: Node\n«s = p»\nreturn 0", "not assigned whole"),
]


def compiled(body: str) -> None:
    text = "@kernel\ndef f(p: Ptr[Node], n: u64) -> u64:\n" + textwrap.indent(body, "    ")
    compile_text(HEADER + text + "\n", "user.py")


@pytest.mark.parametrize(("body", "reason"), STATEMENTS, ids=[s[0] for s in STATEMENTS])
def test_a_construct_is_refused_where_it_stands(body, reason):
    start = body.index("«")
    end = body.index("»") - 1
    plain = body.replace("«", "").replace("»", "")
    line = body[:start].count("\n")
    col = start - (body.rfind("\n", 0, start) + 1)
    with pytest.raises(SourceError) as caught:
        compiled(plain)
    error = caught.value
    assert reason in error.reason
    assert error.pos.file == "user.py"
    assert error.pos.line == HEADER.count("\n") + 3 + line
    assert error.pos.col == col + 5
    lines = str(error).split("\n")
    assert lines[0].startswith(f"user.py:{error.pos.line}:{error.pos.col}: error: ")
    source_line = "    " + plain.split("\n")[line]
    assert lines[1] == "    " + source_line
    caret = lines[2]
    assert caret.index("^") == error.pos.col - 1 + 4
    if ":" not in plain[start:end].split("\n")[0][-1:]:
        assert caret.count("^") == end - start
    assert not error.reason.endswith(".")


HEADS = [
    ("def f(«n») -> u64:\n    return 0", "has no type"),
    ("def f(n: u64 = «3») -> u64:\n    return 0", "default"),
    ("def f(*«n: u64») -> u64:\n    return 0", "special kind"),
    ("def f(*, «n: u64») -> u64:\n    return 0", "special kind"),
    ("def f(n: «Node») -> u64:\n    return 0", "not one word"),
    ("def f(n: «Array[u64, 3]») -> u64:\n    return 0", "not one word"),
    ("def f(n: «u128») -> u64:\n    return 0", "u128 is not defined"),
    ("«async def f(n: u64) -> u64:»\n    return 0", "async"),
    ("def f(n: u64) -> None:\n    «return n»", "returns nothing"),
    ("def f(n: u64) -> Ptr[Node]:\n    return «n»", "returns Ptr[Node]"),
]


@pytest.mark.parametrize(("text", "reason"), HEADS, ids=[h[0] for h in HEADS])
def test_a_signature_is_refused_where_it_stands(text, reason):
    start = text.index("«")
    line, col = text[:start].count("\n"), start - (text.rfind("\n", 0, start) + 1)
    plain = text.replace("«", "").replace("»", "")
    with pytest.raises(SourceError) as caught:
        compile_text(HEADER + "@kernel\n" + plain + "\n", "user.py")
    assert reason in caught.value.reason
    assert caught.value.pos.line == HEADER.count("\n") + 2 + line
    assert caught.value.pos.col == col + 1


def test_columns_count_characters_not_bytes():
    with pytest.raises(SourceError) as caught:
        compiled("é = 1; return «x»".replace("«", "").replace("»", ""))
    assert caught.value.pos.col == 5 + len("é = 1; return ")


def test_an_error_pickles():
    with pytest.raises(SourceError) as caught:
        compiled("return missing")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_kernel_objects_are_refused_outside_of_kernel_functions():
    from mkold.lang import READ_ONCE, Struct, addr, kernel, parameter

    class Node(Struct):
        key: "u64"  # noqa: F821

    module = compile_text(HEADER)
    for call in (
        lambda: module["helper"](1, 2),
        lambda: READ_ONCE(1),
        lambda: addr(1),
        lambda: Node(),
        lambda: kernel(len),
        lambda: bool(parameter("TEST_REFUSED", 3)),
        lambda: parameter("TEST_REFUSED", 3) + parameter("TEST_REFUSED", 4),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(InputError, match=r"Node.key: the type u64 is not defined"):
        _ = Node.size


def test_a_name_that_no_primitive_has():
    with pytest.raises(InputError, match="no READ_TWICE; there are READ_ONCE"):
        compile_text("from mkold.lang import READ_TWICE\n")


def test_a_field_that_the_struct_begins_with():
    text = HEADER + "class Again(Longer):\n    key: u64\n"
    with pytest.raises(InputError, match="begins with a field key"):
        compile_text(text)["Again"].offset("more")


def test_two_structs_of_one_name_are_told_apart():
    text = "from mkold.lang import *\nfrom mkold.mm.list import list_empty\n"
    text += "class ListHead(Struct):\n    key: u64\n"
    text += "@kernel\ndef f(p: Ptr[ListHead]) -> bool:\n    return list_empty(p)\n"
    with pytest.raises(
        SourceError, match=r"mm_types.ListHead\], and this is Ptr\[ours.ListHead"
    ):
        compile_text(text, "ours")
