"""What a read may find is known only after enough rounds of unrolling.

A branch hides the reader of a word until another read has found its word; the word is
then seen to be shared; and only then are its stores looked at.
"""

from __future__ import annotations

from small import by_masks

from mkold.ir.edit import bind
from mkold.ir.module import collect
from mkold.ir.program import Program, Reg, Thread
from mkold.lang import compile_text

TEXT = """
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, kernel, smp_rmb, smp_wmb, u64

@kernel
def write_both(p: Ptr[u64]) -> u64:
    WRITE_ONCE(p[0], 1)
    smp_wmb()
    WRITE_ONCE(p[1], 1)
    return 0

@kernel
def read_behind_a_branch(p: Ptr[u64]) -> u64:
    if not READ_ONCE(p[1]):
        return 2
    return READ_ONCE(p[0])

@kernel
def writer(p: Ptr[u64]) -> None:
    done = write_both(p)

@kernel
def reader(p: Ptr[u64]) -> None:
    seen = read_behind_a_branch(p)
"""


def test_a_word_read_behind_a_branch_has_all_its_values() -> None:
    names = compile_text(TEXT)
    functions = bind(collect([names["writer"], names["reader"]]).functions, {})
    threads = (Thread("w", "writer", (64,)), Thread("r", "reader", (64,)))
    program = Program("rounds", functions, threads, observed=(Reg(1, "seen"),))
    assert by_masks(program).states == ((0,), (1,), (2,))
