"""What lies in memory: locals whose address is taken, narrow words, bytes, tables of functions.

Each in the interpreter, natively and under the model.
"""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.check import Case, Claim, Scenario, Setup
from mkold.check.decide import decide_claim
from mkold.ir.boot import BOOT_WORDS, STACKS
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.module import collect
from mkold.ir.nodes import POISON_FREE, POISON_INUSE
from mkold.ir.program import POISON
from mkold.ir.verify import verify
from mkold.lang import compile_text
from mkold.native import KernelBugError, Memory, build

MASK = (1 << 64) - 1
AT = BOOT_WORDS + 16  # where the object lies
HEAD = """
from mkold.lang import *
from mkold.lang import (READ_ONCE, WRITE_ONCE, BUG_ON, cmpxchg, try_cmpxchg, xchg, smp_mb,
    atomic_inc, poison, smp_store_release, smp_load_acquire, cpu_relax,
    smp_cond_load_acquire, atomic_add_negative)

class Pair(Struct):
    a: u64
    b: s32

class Ops(Struct):
    age: "Fn[[Ptr[Vm], u64], u64]"
    stop: Fn[[u64], None]

class Vm(Struct):
    ops: Ptr[Ops]
    young: u64
    p: Ptr[u64]
    u8_: u8
    s8_: s8
    u16_: u16
    s16_: s16
    u32_: u32
    s32_: s32
    u64_: u64
    s64_: s64
    pairs: Array[Pair, 3]
"""


def module_of(text: str):
    return compile_text(HEAD + textwrap.dedent(text))


def run(text: str, *args: int) -> tuple[int, list[int]]:
    """The result of ``f``, and the object's words; the interpreter and both images agree."""
    made = module_of(text)
    module = collect([made["f"]])
    verify(module.functions)
    size = made["Vm"].size
    memory = dict.fromkeys(range(AT, AT + size), 0)
    result = Interpreter(module.functions, memory).call("f", AT, *args)
    words = [memory[AT + i] for i in range(size)]
    for checked in (False, True):
        native = Memory(BOOT_WORDS + 4096)
        got = build([made["f"]], checked=checked).call("f", native, 0, AT, *args)
        assert (got,) == result
        assert [int(word) for word in native.words[AT : AT + size]] == words
        assert not native.words[STACKS], "the stack is empty again"
    return result[0], words


OUT = """
@kernel
def divide(a: u64, b: u64, rest: Ptr[u64]) -> u64:
    rest.value = a % b
    return a // b
"""


def test_the_address_of_a_local():
    text = (
        OUT
        + """
@kernel
def f(vm: Ptr[Vm], n: u64) -> u64:
    rest: u64 = 0
    quotient = divide(n, 7, addr(rest))
    rest += 1
    return quotient * 100 + rest
"""
    )
    assert run(text, 17)[0] == 204


def test_the_address_of_a_parameter_and_of_a_narrow_local():
    text = """
@kernel
def bump(p: Ptr[s8]) -> None:
    p.value += 100

@kernel
def f(vm: Ptr[Vm], n: s8) -> u64:
    small = n
    bump(addr(small))
    bump(addr(n))
    if n < 0:
        return 1000 + (small == n)
    return 0
"""
    assert run(text, 50)[0] == 1001


def test_structs_and_arrays_among_the_locals():
    text = """
@kernel
def total(p: Ptr[Pair], n: u64) -> s64:
    t: s64 = 0
    for i in range(n):
        t += p[i].a + p[i].b
    return t

@kernel
def f(vm: Ptr[Vm], n: u64) -> u64:
    one: Pair
    many: Array[Pair, 3]
    one.a = n
    one.b = -2
    for i in range(3):
        many[i].a = i * 10
        many[i].b = one.b - cast(int, i)
    return total(addr(one), 1) * 1000 + total(addr(many[0]), 3)
"""
    # 5 - 2, and 0 + 10 + 20 with -2, -3, -4
    assert run(text, 5)[0] == 3000 + 30 - 9


def test_each_call_has_words_of_its_own():
    text = """
@kernel
def leaf(p: Ptr[u64], n: u64) -> u64:
    mine: u64 = n
    q = addr(mine)
    q.value += p.value
    return mine

@kernel
def f(vm: Ptr[Vm], n: u64) -> u64:
    mine: u64 = 1
    t = 0
    for i in range(n):
        t += leaf(addr(mine), i)
        if i == 1:
            mine = 10
    if t > 1000:
        return 0
    return t
"""
    assert run(text, 4)[0] == 1 + 2 + 12 + 13


DANGLING = """
@kernel
def escapes() -> Ptr[u64]:
    mine: u64 = 5
    return addr(mine)

@kernel
def f(vm: Ptr[Vm]) -> u64:
    p = escapes()
    return READ_ONCE(p.value)

@kernel
def unset(vm: Ptr[Vm]) -> u64:
    mine: Pair
    return mine.a
"""


@pytest.mark.parametrize(
    ("name", "poison", "flag"),
    [("f", POISON_FREE, "use-after-free"), ("unset", POISON_INUSE, "use-before-init")],
)
def test_a_local_is_not_there_before_and_after(name, poison, flag):
    made = module_of(DANGLING)
    functions = collect([made[name]]).functions
    assert Interpreter(functions, {}).call(name, AT) == (poison,)
    with pytest.raises(KernelBugError, match="poison read"):
        build([made[name]], checked=True).call(name, Memory(BOOT_WORDS + 512), 0, AT)
    assert broken(lambda m: m.thread("t", (made[name], 5))) & {"use-after-free", flag}


def test_too_many_words_of_locals():
    made = module_of("""
@kernel
def f(vm: Ptr[Vm]) -> u64:
    big: Array[u64, 600]
    big[0] = 1
    return big[0]
""")
    with pytest.raises(InterpretError, match="BUG_ON"):
        Interpreter(collect([made["f"]]).functions, {}).call("f", AT)
    with pytest.raises(KernelBugError, match="BUG_ON"):
        build([made["f"]]).call("f", Memory(BOOT_WORDS + 512), 0, AT)


def broken(setup, **more) -> set[str]:
    claim = Claim("c", "-", "-", (Case("-", Scenario("s", setup, **more)),))
    (case,) = decide_claim(claim).cases
    assert case.status != "undecided", case.reason
    return set(case.broken)


WAITING = """
@kernel
def waiter(vm: Ptr[Vm]) -> u64:
    done: u64 = 0
    smp_store_release(vm.p, addr(done))
    while not smp_load_acquire(done):
        cpu_relax()
    return 7

@kernel
def hurried(vm: Ptr[Vm]) -> u64:
    done: u64 = 0
    smp_store_release(vm.p, addr(done))
    return READ_ONCE(done)

@kernel
def completer(vm: Ptr[Vm]) -> None:
    p = smp_load_acquire(vm.p)
    if p != NULL:
        BUG_ON(READ_ONCE(p.value) != 0)
        smp_store_release(p.value, 1)
"""


@pytest.mark.parametrize(
    ("first", "found"),
    [("waiter", {"hang"}), ("hurried", {"use-after-free", "write-after-free", "bug-on"})],
)
def test_a_local_that_another_thread_completes(first, found):
    made = module_of(WAITING)

    def setup(m: Setup) -> None:
        vm = m.new(made["Vm"], "vm")
        m.thread("waits", (made[first], vm))
        m.thread("completes", (made["completer"], vm))

    assert broken(setup, ignore=frozenset({"data-race", "mixed-accesses"})) == found


def test_locals_of_two_threads_are_apart():
    made = module_of("""
@kernel
def stores(vm: Ptr[Vm], n: u64) -> u64:
    mine: u64 = n
    p = addr(mine)
    p.value += READ_ONCE(vm.young)
    return mine
""")

    def setup(m: Setup) -> None:
        vm = m.new(made["Vm"], "vm")
        for n in (1, 2):
            m.thread(f"t{n}", (made["stores"], vm, n))
        m.never("crossed", lambda end: end.result("t1") != 1 or end.result("t2") != 2, "-")

    assert broken(setup) == set()


# Narrow words.

FIELDS = {"u8": 8, "s8": 8, "u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64}
ROUND = """
@kernel
def plain_{t}(vm: Ptr[Vm], n: u64) -> u64:
    vm.{t}_ = n
    return cast(u64, vm.{t}_)

@kernel
def once_{t}(vm: Ptr[Vm], n: u64) -> u64:
    WRITE_ONCE(vm.{t}_, cast({t}, n))
    x: {t} = READ_ONCE(vm.{t}_)
    return cast(u64, x)

@kernel
def add_{t}(vm: Ptr[Vm], n: u64) -> u64:
    vm.{t}_ = 100
    x = xchg(vm.{t}_, cast({t}, n))
    vm.{t}_ += 100
    return cast(u64, vm.{t}_) + x

@kernel
def negative_{t}(vm: Ptr[Vm], n: u64) -> u64:
    return atomic_add_negative(vm.{t}_, cast({t}, n))

@kernel
def swap_{t}(vm: Ptr[Vm], n: u64) -> u64:
    vm.{t}_ = n
    seen = cmpxchg(vm.{t}_, cast({t}, n), 1)
    ok, again = try_cmpxchg(vm.{t}_, 1, -1)
    return (seen == cast({t}, n)) + ok * 2 + (again == 1) * 4 + (vm.{t}_ == cast({t}, -1)) * 8
"""


def value(type_: str, number: int) -> int:
    """As C has it, extended to a word."""
    bits = FIELDS[type_]
    number &= (1 << bits) - 1
    if type_[0] == "s" and number >> bits - 1:
        number -= 1 << bits
    return number & MASK


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MKOLD_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        made = module_of("".join(ROUND.replace("{t}", t) for t in FIELDS))
        wanted = [f for n, f in made.items() if n.split("_")[0] in
                  ("plain", "once", "add", "negative", "swap") and n[-1].isdigit()]  # fmt: skip
        module = collect(wanted)
        verify(module.functions)
        yield made["Vm"], module.functions, build(wanted), build(wanted, checked=True)


words = st.one_of(
    st.integers(0, 300),
    st.integers(MASK - 300, MASK),
    st.sampled_from([(1 << k) + d for k in (7, 8, 15, 16, 31, 32, 63) for d in (-1, 0, 1)]),
    st.integers(0, MASK),
)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(["plain", "once", "add", "negative", "swap"]),
       st.sampled_from(list(FIELDS)), words)  # fmt: skip
def test_narrow_words_in_memory(narrow, what, type_, n):
    vm, functions, *images = narrow
    cell = AT + vm.offset(f"{type_}_")
    name = f"{what}_{type_}"
    memory = {}
    (result,) = Interpreter(functions, memory).call(name, AT, n)
    for image in images:
        native = Memory(BOOT_WORDS + 4096)
        assert image.call(name, native, 0, AT, n) == result
        assert native.words[cell] == memory.get(cell, 0)
    here = value(type_, n)
    expected = {
        "plain": here,
        "once": here,
        "add": (value(type_, here + 100) + 100) & MASK,
        "negative": here >> 63 if type_[0] == "s" else (n >> FIELDS[type_] - 1) & 1,
        "swap": 15,
    }
    assert result == expected[what]
    assert memory.get(cell, 0) < 1 << FIELDS[type_], "it lies there with zeros above"


def test_words_are_poisoned_whatever_lies_in_them():
    made = module_of("""
@kernel
def f(vm: Ptr[Vm], n: u64) -> u64:
    poison(vm.u8_, 2)
    return READ_ONCE(vm.s8_)
""")
    memory = {}
    Interpreter(collect([made["f"]]).functions, memory).call("f", AT, 0)
    assert [*memory.values()] == [POISON, POISON]
    with pytest.raises(KernelBugError, match="poison read"):
        build([made["f"]], checked=True).call("f", Memory(BOOT_WORDS + 512), 0, AT, 0)


def test_atomic_t_is_an_int():
    text = """
class Count(Struct):
    n: atomic_t
    wide: atomic64_t

@kernel
def f(vm: Ptr[Vm], n: u64) -> u64:
    c = cast(Ptr[Count], vm)
    WRITE_ONCE(c.n, 0x7FFFFFFF)
    atomic_inc(c.n)
    WRITE_ONCE(c.wide, 0x7FFFFFFF)
    atomic_inc(c.wide)
    return (READ_ONCE(c.n) < 0) * 10 + (READ_ONCE(c.wide) > 0)
"""
    assert run(text, 0) == (11, [0x80000000, 0x80000000] + [0] * 15)


def test_bytes_of_a_word():
    text = """
@kernel
def f(vm: Ptr[Vm], n: u64) -> u64:
    WRITE_ONCE(vm.u64_, n)
    WRITE_ONCE(byte(vm.u64_, 1), 0xEE)
    smp_store_release(byte(vm.u32_, 3), 0x80)
    return READ_ONCE(byte(vm.u64_, 0)) * 256 + READ_ONCE(byte(vm.u64_, 1)) + byte(vm.u32_, 3)
"""
    result, memory = run(text, 0x1122334455667788)
    assert result == 0x88EE + 0x80
    assert 0x112233445566EE88 in memory
    assert 0x80000000 in memory


# Tables of functions.

TABLE = """
@kernel
def age_one(vm: Ptr[Vm], n: u64) -> u64:
    return n + 1

@kernel
def age_two(vm: Ptr[Vm], n: u64) -> u64:
    vm.young += 1
    return n + 2

@kernel
def stop(n: u64) -> None:
    pass

@kernel
def fill(ops: Ptr[Ops], two: u64) -> None:
    ops.age = age_two if two else age_one
    ops.stop = stop

@kernel
def age(vm: Ptr[Vm], n: u64) -> u64:
    vm.ops.stop(n)
    return vm.ops.age(vm, n)

@kernel
def f(vm: Ptr[Vm], two: u64) -> u64:
    ops: Ops
    fill(addr(ops), two)
    vm.ops = addr(ops)
    g = READ_ONCE(vm.ops.age)
    result = age(vm, 10) * 100 + g(vm, 20)
    vm.ops = NULL
    return result

@kernel
def wild(vm: Ptr[Vm]) -> u64:
    return cast(Fn[[Ptr[Vm], u64], u64], 12345)(vm, 1)

@kernel
def change(vm: Ptr[Vm], ops: Ptr[Ops]) -> None:
    old = READ_ONCE(vm.ops)
    smp_store_release(vm.ops, ops)
    poison(old.age, 2)

@kernel
def look(vm: Ptr[Vm], n: u64) -> u64:
    ops = READ_ONCE(vm.ops)
    call = READ_ONCE(ops.age)
    return call(vm, n)
"""


@pytest.mark.parametrize(("two", "result"), [(0, 1121), (1, 1222)])
def test_a_call_through_a_table(two, result):
    assert run(TABLE, two)[0] == result


def test_a_wild_call():
    made = module_of(TABLE)
    with pytest.raises(InterpretError, match="calls 0x3039, which is no function"):
        Interpreter(collect([made["wild"]]).functions, {}).call("wild", AT)
    with pytest.raises(KernelBugError, match="bad call"):
        build([made["wild"]]).call("wild", Memory(BOOT_WORDS + 512), 0, AT)
    assert broken(lambda m: m.thread("t", (made["wild"], 5))) == {"bad-call"}


@pytest.mark.parametrize(
    ("name", "second", "found"),
    [
        ("look", False, set()),
        ("look", True, {"use-after-free", "bad-call", "data-race"}),
    ],
)
def test_a_table_in_a_scenario(name, second, found):
    made = module_of(TABLE)

    def setup(m: Setup) -> None:
        vm = m.new(made["Vm"], "vm")
        first, other = m.new(made["Ops"], "first"), m.new(made["Ops"], "other")
        m.call(made["fill"], first, 0)
        m.poke(other, m.pointer(made["age_two"]))
        m.poke(vm, first)
        m.thread("looks", (made[name], vm, 5))
        if second:
            m.thread("changes", (made["change"], vm, other))
        m.never("none", lambda end: end.result("looks") not in (0, 6, 7), "-")

    assert broken(setup, ignore=frozenset({"mixed-accesses"})) == found


AWAIT = """
@kernel
def waits(vm: Ptr[Vm]) -> u64:
    n = smp_cond_load_acquire(vm.u64_, VAL > 2 and VAL != 4)
    return n * 10 + READ_ONCE(vm.young)

@kernel
def gives(vm: Ptr[Vm], n: u64) -> None:
    WRITE_ONCE(vm.young, 1)
    smp_store_release(vm.u64_, n)
"""


def test_waiting_for_a_condition():
    made = module_of(AWAIT)

    def setup(m: Setup) -> None:
        vm = m.new(made["Vm"], "vm")
        m.thread("waits", (made["waits"], vm))
        m.thread("gives", (made["gives"], vm, 3))
        m.never("early", lambda end: end.result("waits") != 31, "-")

    assert broken(setup) == set()
    native = Memory(BOOT_WORDS + 512)
    native.words[AT + made["Vm"].offset("u64_")] = 5
    assert build([made["waits"]]).call("waits", native, 0, AT) == 50
