"""``READ_ONCE_ANY``: many words at once, in volatile vectors of 8.

Known limit: that an aligned word of a vector load is read whole is what processors do, not
what their manuals promise.
"""

from __future__ import annotations

from mkold.native.llvm import checks
from mkold.native.llvm.checks import VECTOR_WORDS
from mkold.native.llvm.place import Access

_TYPE = f"<{VECTOR_WORDS} x i64>"
# Vectors loaded in a row; more go in a loop.
_UNROLL = 16


def write(access: Access) -> None:
    """Write the loads and assign the OR of the words, masked."""
    w = access.w
    _, count, mask = access.args
    assert count.isdigit(), "the count of READ_ONCE_ANY is bound"
    at = access.word_pointer()
    n_vectors, n_rest = divmod(int(count), VECTOR_WORDS)
    start = n_vectors - n_vectors % _UNROLL if n_vectors > _UNROLL else 0
    total = _loop(access, at, start) if start else "zeroinitializer"
    for i in range(start, n_vectors):
        total = w.name(f"or {_TYPE} {total}, {_vector(access, at, str(i * VECTOR_WORDS))}")
    word = w.name(f"call i64 @llvm.vector.reduce.or.v{VECTOR_WORDS}i64({_TYPE} {total})")
    for i in range(n_vectors * VECTOR_WORDS, n_vectors * VECTOR_WORDS + n_rest):
        where = w.name(f"getelementptr i64, ptr {at}, i64 {i}")
        one = w.name(f"load atomic volatile i64, ptr {where} monotonic, align 8")
        if w.checked:
            checks.no_poison(access, one)
        word = w.name(f"or i64 {word}, {one}")
    access.give((w.name(f"and i64 {word}, {mask}"),))


def _vector(access: Access, at: str, index: str) -> str:
    w = access.w
    where = w.name(f"getelementptr i64, ptr {at}, i64 {index}")
    vector = w.name(f"load volatile {_TYPE}, ptr {where}, align 8")
    if w.checked:
        checks.no_poison_among(access, vector)
    return vector


def _loop(access: Access, at: str, n_vectors: int) -> str:
    """OR ``n_vectors`` vectors, ``_UNROLL`` a turn."""
    w = access.w
    index, total = w.new_slot("index"), "%" + w.label("total")
    w.lines.insert(0, f"  {total} = alloca {_TYPE}")
    w.line(f"store i64 0, ptr {index}")
    w.line(f"store {_TYPE} zeroinitializer, ptr {total}")
    again, out = w.label("vectors"), w.label("out")
    w.start(again)
    i = w.name(f"load i64, ptr {index}")
    value = w.name(f"load {_TYPE}, ptr {total}")
    for k in range(_UNROLL):
        word = w.name(f"add i64 {i}, {k * VECTOR_WORDS}")
        value = w.name(f"or {_TYPE} {value}, {_vector(access, at, word)}")
    w.line(f"store {_TYPE} {value}, ptr {total}")
    following = w.name(f"add i64 {i}, {_UNROLL * VECTOR_WORDS}")
    w.line(f"store i64 {following}, ptr {index}")
    more = w.name(f"icmp ult i64 {following}, {n_vectors * VECTOR_WORDS}")
    w.branch(more, again, out)
    w.start(out)
    return w.name(f"load {_TYPE}, ptr {total}")
