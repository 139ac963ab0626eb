"""Another front end stands on the same meaning, and nobody else has to know of it."""

from __future__ import annotations

import pytest
from toy.lower import compile_toy

from mkold.base.errors import SourceError
from mkold.check import Case, Claim, Scenario, Setup
from mkold.check.decide import decide_claim
from mkold.ir.boot import BOOT_WORDS
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.ir.verify import verify
from mkold.lang import compile_text
from mkold.native import Memory, build

TOY = """
(struct Box (flag u64) (data u64))

(fn send ((box (ptr Box)) (value u64)) ()
  (set (. box data) value)
  (smp_store_release (. box flag) 1))

(fn send_early ((box (ptr Box)) (value u64)) ()
  (WRITE_ONCE (. box flag) 1)     ; before what it announces
  (set (. box data) value))

(fn sum ((p (ptr u64)) (n u64)) (u64)
  (set total 0)
  (set i 0)
  (while (< i n)
    (block                        ; a switch of C: break leaves it
      (if (= ([] p i) 7) (break))
      (set total (+ total ([] p i))))
    (set i (+ i 1)))
  (return total))

(fn collatz ((n u64)) (u64)
  (set steps 0)
  (do
    (set steps (+ steps 1))
    (if (& n 1)
      (begin (set n (+ (* n 3) 1)) (continue)))
    (set n (/ n 2))
    (>= n 2))
  (return steps))

(fn wraps ((a int) (b int)) (bool)
  (return (< (+ a b) a)))
"""
PYTHON = """
from mkold.lang import Ptr, Struct, kernel, smp_load_acquire, u64

class Box(Struct):
    flag: u64
    data: u64

@kernel
def poll(box: Ptr[Box]) -> u64:
    if smp_load_acquire(box.flag):
        return box.data
    return 5

@kernel
def double(n: u64) -> u64:
    return n * 2
"""
CALLS = "(fn both ((n u64)) (u64) (return (+ (double n) (double 1))))"
MASK = (1 << 64) - 1


@pytest.fixture(scope="module")
def functions():
    return compile_toy(TOY) | compile_toy(CALLS, "more", known=compile_text(PYTHON))


RUNS = [
    ("sum", (5000, 4), 1 + 2 + 9),
    ("collatz", (6,), 8),
    ("wraps", (0x7FFFFFFF, 1), 1),
    ("wraps", (1, 2), 0),
    ("wraps", (-3 & MASK, -4 & MASK), 1),
    ("both", (20,), 42),
]


@pytest.mark.parametrize(("name", "args", "result"), RUNS, ids=[str(r[:2]) for r in RUNS])
def test_it_runs_in_the_interpreter_and_natively(functions, name, args, result):
    module = collect([functions[name]])
    verify(module.functions)
    words = dict(zip(range(5000, 5004), (1, 7, 2, 9), strict=True))
    assert Interpreter(module.functions, words).call(name, *args) == (result,)
    memory = Memory(BOOT_WORDS + 2048)
    memory.words[5000:5004] = 1, 7, 2, 9
    assert build([functions[name]], checked=True).call(name, memory, 0, *args) == result


@pytest.mark.parametrize(("sender", "verdict"), [("send", "holds"), ("send_early", "refuted")])
def test_the_checker_takes_it_beside_kernel_python(functions, sender, verdict):
    python = compile_text(PYTHON)

    def setup(m: Setup) -> None:
        box = m.new(python["Box"], "box")
        m.thread("sender", (functions[sender], box, 9))
        m.thread("poller", (python["poll"], box))
        m.never("stale", lambda end: end.result("poller") == 0, "the data came late")

    claim = Claim("toy", "-", "-", (Case("-", Scenario("toy", setup)),))
    assert decide_claim(claim).verdict == verdict


WRONG = [
    ("(fn f ((n u64)) (u64) (return «(double n n)»))", "double takes 1 argument, not 2"),
    ("(fn f ((n u64)) () (set x 1) (set «(+ x 1)» 2))", "a place in memory"),
    ("(fn f ((n «u128»)) () (return))", "u128 is no type"),
    ("(fn f ((n u8)) () (set n «300»))", "300 does not fit a u8"),
    ("(fn f ((n u64)) (u64) «(if n (return 1))»)", "can end without a return"),
    ("(fn f ((n u64)) () «(break)»)", "outside of a loop"),
    ("«(fn f»", "never closed"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG, ids=[w[1] for w in WRONG])
def test_its_errors_have_carets_too(text, reason):
    start, end = text.index("«"), text.index("»") - 1
    with pytest.raises(SourceError) as caught:
        compile_toy(text.replace("«", "").replace("»", ""), known=compile_text(PYTHON))
    assert reason in caught.value.reason
    assert (caught.value.pos.col, caught.value.pos.line) == (start + 1, 1)
    if not reason.startswith("never"):
        assert caught.value.pos.end == end + 1
