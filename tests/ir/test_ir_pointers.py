"""Function pointers: words that stand for functions, and calls through them."""

from __future__ import annotations

import pytest

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.edit import rename_calls
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.meaning import expand
from mkold.ir.nodes import (
    Assign,
    Binary,
    Call,
    CallPtr,
    Const,
    Expr,
    Function,
    FunctionWord,
    Local,
    Op,
    Return,
    Stmt,
    expressions,
)
from mkold.ir.program import POISON, Mem, Program, Reg, Thread
from mkold.ir.text import function_text
from mkold.ir.verify import verify
from mkold.lkmm import decide
from mkold.lkmm.verdict import OWN_FLAGS
from mkold.native import KernelBugError, Memory
from mkold.native.image import Image

OPS, X = BOOT_WORDS, BOOT_WORDS + 1
INC, TWICE = FunctionWord("inc", "somewhere:inc"), FunctionWord("twice", "somewhere:twice")
N, R = Local("n"), Local("r")


def _function(name: str, value: Expr) -> Function:
    return Function(name, ("n",), (Return((value,)),), 1)


def _caller(members: tuple[FunctionWord, ...] = (INC, TWICE)) -> Function:
    body: tuple[Stmt, ...] = (
        Op("READ_ONCE", ("f",), (Const(OPS),), "ops.f"),
        CallPtr(Local("f"), members, ("r",), (N,), "ops.f"),
        Return((R,)),
    )
    return Function("caller", ("n",), body, 1)


FUNCTIONS = {
    "inc": _function("inc", Binary("add", N, Const(1))),
    "twice": _function("twice", Binary("mul", N, Const(2))),
    "caller": _caller(),
}


def _started(word: int, *writers: Stmt) -> Program:
    """One thread calls with 10, another stores; the pointer holds ``word`` at first."""
    entry = Function("P0", (), (Call("caller", ("r",), (Const(10),)), Return()))
    other = Function("P1", (), (*writers, Return()))
    threads = (Thread("P0", "P0"), Thread("P1", "P1"))
    functions = {**FUNCTIONS, "P0": entry, "P1": other}
    verify(functions)
    return Program("calls", functions, threads, init={OPS: word}, observed=(Reg(0, "r"),))


@pytest.fixture(scope="module")
def image() -> Image:
    return Image(FUNCTIONS, ["caller"], checked=False)


def _memory(word: int) -> Memory:
    memory = Memory(BOOT_WORDS + 8)
    memory.words[OPS] = word
    return memory


@pytest.mark.parametrize(("member", "result"), [(INC, 11), (TWICE, 20)])
def test_a_call_goes_where_the_word_says(
    image: Image, member: FunctionWord, result: int
) -> None:
    assert Interpreter(FUNCTIONS, {OPS: member.word}).call("caller", 10) == (result,)
    assert image.call("caller", _memory(member.word), 0, 10) == result
    assert tuple(decide(_started(member.word)).states) == ((result,),)


def test_the_model_tries_every_member_that_it_may_be() -> None:
    store = Op("WRITE_ONCE", (), (Const(OPS), TWICE))
    verdict = decide(_started(INC.word, store))
    assert set(verdict.states) == {(11,), (20,)}
    assert not verdict.flags


@pytest.mark.parametrize("word", [0, 7, POISON, FunctionWord("other").word])
def test_a_wild_pointer_is_never_passed_over(image: Image, word: int) -> None:
    with pytest.raises(InterpretError, match=f"calls {word:#x}, which is no function"):
        Interpreter(FUNCTIONS, {OPS: word}).call("caller", 10)
    with pytest.raises(KernelBugError) as caught:
        image.call("caller", _memory(word), 2, 10)
    finding = caught.value.finding
    assert (finding.site.kind, finding.site.what) == ("bad call", "ops.f")
    assert (finding.value, finding.cpu) == (word, 2)
    for made in (_started(word), _started(INC.word, _store(word))):
        assert "bad-call" in decide(made).flags
    assert "bad-call" in OWN_FLAGS


def _store(word: int) -> Op:
    return Op("WRITE_ONCE", (), (Const(OPS), Const(word)))


def test_a_table_read_after_it_was_freed_is_a_use_after_free() -> None:
    freed = Op("poison", (), (Const(OPS), Const(1)))
    assert {"bad-call", "use-after-free"} <= set(decide(_started(INC.word, freed)).flags)


def test_a_pointer_with_no_members_calls_nothing() -> None:
    functions = {"caller": _caller(())}
    verify(functions)
    assert "of none" in function_text(functions["caller"])
    with pytest.raises(InterpretError):
        Interpreter(functions, {}).call("caller", 1)


def test_what_is_called_waits_for_the_pointer() -> None:
    """Load buffering: the callee's store can't be seen before the pointer was read."""
    store = Function("store", (), (Op("WRITE_ONCE", (), (Const(X), Const(1))), Return()))
    word = FunctionWord("store")
    first = (
        Op("READ_ONCE", ("f",), (Const(OPS),)),
        CallPtr(Local("f"), (word, FunctionWord("nothing"))),
        Return(),
    )
    second = (
        Op("READ_ONCE", ("a",), (Const(X),)),
        Assign("w", Binary("add", word, Binary("xor", Local("a"), Local("a")))),
        Op("WRITE_ONCE", (), (Const(OPS), Local("w"))),
        Return(),
    )
    functions = {
        "store": store,
        "nothing": Function("nothing", (), (Return(),)),
        "P0": Function("P0", (), first),
        "P1": Function("P1", (), second),
    }
    for start, observation in ((word.word, True), (FunctionWord("nothing").word, False)):
        made = Program(
            "lb",
            functions,
            (Thread("P0", "P0"), Thread("P1", "P1")),
            init={OPS: start},
            observed=(Reg(0, "f"), Reg(1, "a"), Mem(X)),
        )
        states = decide(made).states
        assert ((word.word, 1, 1) in states) is observation


def test_words_are_no_addresses_and_stay_the_same() -> None:
    words = [FunctionWord(f"f{i}").word for i in range(1000)]
    assert len(set(words)) == 1000
    assert {word >> 56 for word in words} == {0xF1}
    assert FunctionWord("f0").word == FunctionWord("renamed", "f0").word == words[0]
    assert words[0] == 0xF1865AB0D317F369


def test_renaming_keeps_the_word() -> None:
    taken = FunctionWord("m:inc")
    body = (
        Assign("w", Binary("add", taken, Const(1))),
        CallPtr(taken, (taken,), (), (N,)),
        Return((Local("w"),)),
    )
    renamed = rename_calls(Function("m:f", ("n",), body, 1), "f", {"m:inc": "inc"})
    functions = {"f": renamed, "inc": FUNCTIONS["inc"]}
    verify(functions)
    assert "w = &inc + 1" in function_text(renamed)
    assert Interpreter(functions, {}).call("f", 1) == (taken.word + 1,)


def test_two_functions_of_one_word_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    verify(FUNCTIONS)
    monkeypatch.setattr(expressions, "_function_word", lambda key: 0xF1 << 56)
    with pytest.raises(AssertionError, match="have the same word"):
        verify(FUNCTIONS)


@pytest.mark.parametrize(
    "stmt",
    [
        CallPtr(N, (FunctionWord("missing"),), (), (N,)),
        CallPtr(N, (INC,), (), ()),
        CallPtr(N, (INC,), ("a", "b"), (N,)),
        CallPtr(N, (FunctionWord("f"),), (), (N,)),  # recursion
        CallPtr(Local("unknown"), (INC,), (), (N,)),
    ],
)
def test_the_verifier_refuses(stmt: Stmt) -> None:
    with pytest.raises(AssertionError):
        verify({**FUNCTIONS, "f": Function("f", ("n",), (stmt,))})


def test_what_stands_for_nothing_else_is_left_as_it_is() -> None:
    plain = {"inc": FUNCTIONS["inc"]}
    assert expand(plain) is plain
    expanded = expand(FUNCTIONS)
    assert expanded["inc"] is FUNCTIONS["inc"]
    verify(expanded)
