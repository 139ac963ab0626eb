"""Words on the stack: frames lie apart, and what is not theirs to read is poison."""

from __future__ import annotations

import pytest
from every_row import definition

from mkold.ir.boot import BOOT_WORDS, STACK_WORDS, STACKS
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.nodes import POISON_INUSE, Binary, Call, Const, Function, Local, Op, Return, Stmt
from mkold.ir.program import POISON, Program, Reg, Thread
from mkold.ir.verify import verify
from mkold.lkmm import decide
from mkold.lkmm.unroll import unroll
from mkold.native import Image, KernelBugError, Memory, build

FRAME, R = Local("frame"), Local("r")


def _function(name: str, n: int, *body: Stmt, leaks: bool = False) -> Function:
    """``body`` with a frame of ``n`` words; gives ``r``, or the frame that is gone."""
    start = Op("stack_alloc", ("frame",), (Const(n),))
    end = Op("stack_free", (), (FRAME, Const(n)))
    return Function(name, (), (start, *body, end, Return((FRAME if leaks else R,))), 1)


def _store(index: int, value: int) -> Op:
    return Op("store", (), (Binary("add", FRAME, Const(index)), Const(value)))


def _load(dst: str, index: int) -> Op:
    return Op("load", (dst,), (Binary("add", FRAME, Const(index)),))


INNER = _function("inner", 2, _store(0, 70), _store(1, 5), _load("r", 0))
OUTER = _function(
    "outer", 3, _store(0, 1), _store(2, 7), Call("inner", ("x",)), _load("y", 2), _load("z", 0),
    Op("store", (), (FRAME, Binary("add", Local("x"), Binary("add", Local("y"), Local("z"))))),
    _load("r", 0),
)  # fmt: skip
UNSET = _function("unset", 2, _load("r", 1))
GONE = _function("gone", 1, _store(0, 3), leaks=True)
STALE = Function(
    "stale", (), (Call("gone", ("p",)), Op("load", ("r",), (Local("p"),)), Return((R,))), 1
)
LARGE = _function("large", STACK_WORDS, _store(0, 1), _load("r", 0))
FUNCTIONS = {f.name: f for f in (INNER, OUTER, UNSET, GONE, STALE, LARGE)}


@pytest.fixture(scope="module")
def images() -> list[Image]:
    definitions = [definition(function, FUNCTIONS) for function in FUNCTIONS.values()]
    return [build(definitions, checked=checked) for checked in (False, True)]


def _program(name: str) -> Program:
    verify(FUNCTIONS)
    entry = Function("P", (), (Call(name, ("r",)), Return()))
    threads = tuple(Thread(f"P{i}", "P") for i in range(2))
    observed = (Reg(0, "r"), Reg(1, "r"))
    return Program(name, {**FUNCTIONS, "P": entry}, threads, observed=observed)


def test_frames_lie_apart(images: list[Image]) -> None:
    memory: dict[int, int] = {}
    assert Interpreter(FUNCTIONS, memory, cpu=3).call("outer") == (78,)
    line = STACKS + 3 * STACK_WORDS
    assert {address for address, word in memory.items() if word} == set(
        range(line + 1, line + 6)
    )
    assert memory[line] == 0
    for image in images:
        native = Memory(BOOT_WORDS)
        assert [image.call("outer", native, cpu) for cpu in (0, 63)] == [78, 78]


def test_they_are_like_locals_to_the_model() -> None:
    made = _program("outer")
    verdict = decide(made)
    assert (tuple(verdict.states), verdict.flags) == (((78, 78),), ())
    assert not unroll(made).nodes


def test_a_word_that_was_not_set_is_poison(images: list[Image]) -> None:
    assert Interpreter(FUNCTIONS, {}).call("unset") == (POISON_INUSE,)
    assert images[0].call("unset", Memory(BOOT_WORDS), 0) == POISON
    _reads_poison(images[1], "unset", "use-before-init")


def test_a_word_that_is_gone_is_poison(images: list[Image]) -> None:
    assert Interpreter(FUNCTIONS, {}).call("stale") == (POISON,)
    _reads_poison(images[1], "stale", "use-after-free")


def _reads_poison(checked: Image, name: str, flag: str) -> None:
    with pytest.raises(KernelBugError, match="poison read"):
        checked.call(name, Memory(BOOT_WORDS), 0)
    assert flag in decide(_program(name)).flags


@pytest.mark.slow
def test_a_stack_has_an_end(images: list[Image]) -> None:
    with pytest.raises(InterpretError, match="BUG_ON"):
        Interpreter(FUNCTIONS, {}).call("large")
    with pytest.raises(KernelBugError, match="BUG_ON stack in large"):
        images[0].call("large", Memory(BOOT_WORDS), 0)
    assert "bug-on" in decide(_program("large")).flags
