"""``READ_ONCE_WHICH``: many words at once, in volatile vectors of 4.

Of ``_STRIDE`` vectors it is first asked whether any word has one of the bits: one load each
and one test of all. Only if so are they loaded again, to see which. What a word's bit says
is what one of the two loads found, so to the program there is one.

Known limit: that an aligned word of a vector load is read whole is what processors do, not
what their manuals promise.
"""

from __future__ import annotations

from mkold.native.llvm import checks
from mkold.native.llvm.checks import VECTOR_WORDS
from mkold.native.llvm.place import Access

_TYPE = f"<{VECTOR_WORDS} x i64>"
_STRIDE = 8


def write(access: Access) -> None:
    """Write the loads and assign the word that has a bit for each word read."""
    w = access.w
    _, count, mask = access.args
    assert count.isdigit(), f"the count of {access.row.name} is bound"
    at = access.word_pointer()
    n_vectors = int(count) // VECTOR_WORDS
    parts = [
        _stride(access, at, range(first, min(first + _STRIDE, n_vectors)), mask)
        for first in range(0, n_vectors, _STRIDE)
    ]
    for i in range(n_vectors * VECTOR_WORDS, int(count)):
        where = w.name(f"getelementptr i64, ptr {at}, i64 {i}")
        word = w.name(f"load atomic volatile i64, ptr {where} monotonic, align 8")
        if w.checked:
            checks.no_poison(access, word)
        has = w.name(f"icmp ne i64 {w.name(f'and i64 {word}, {mask}')}, 0")
        parts.append(w.name(f"shl i64 {w.name(f'zext i1 {has} to i64')}, {i}"))
    access.give((_together(access, parts),))


def _stride(access: Access, at: str, vectors: range, mask: str) -> str:
    """The bits of some vectors, in their places."""
    w = access.w
    masks = _splat(access, mask)
    slot = w.new_slot("which")
    w.line(f"store i64 0, ptr {slot}")
    together = _load(access, at, vectors[0])
    for i in vectors[1:]:
        together = w.name(f"or {_TYPE} {together}, {_load(access, at, i)}")
    together = w.name(f"and {_TYPE} {together}, {masks}")
    word = w.name(f"call i64 @llvm.vector.reduce.or.v{VECTOR_WORDS}i64({_TYPE} {together})")
    some, on = w.label("some"), w.label("on")
    w.branch(w.name(f"icmp ne i64 {word}, 0"), some, on)
    w.start(some)
    loaded = {i * VECTOR_WORDS: _load(access, at, i) for i in vectors}
    bits = [_bits(access, vector, masks, first) for first, vector in loaded.items()]
    w.line(f"store i64 {_together(access, bits)}, ptr {slot}")
    w.start(on)
    return w.name(f"load i64, ptr {slot}")


def _load(access: Access, at: str, index: int) -> str:
    w = access.w
    where = w.name(f"getelementptr i64, ptr {at}, i64 {index * VECTOR_WORDS}")
    vector = w.name(f"load volatile {_TYPE}, ptr {where}, align 8")
    if w.checked:
        checks.no_poison_among(access, vector)
    return vector


def _splat(access: Access, word: str) -> str:
    """A vector with ``word`` in every place."""
    w, zeros = access.w, f"<{VECTOR_WORDS} x i32> zeroinitializer"
    one = w.name(f"insertelement {_TYPE} poison, i64 {word}, i64 0")
    return w.name(f"shufflevector {_TYPE} {one}, {_TYPE} poison, {zeros}")


def _bits(access: Access, vector: str, masks: str, first: int) -> str:
    """A bit for each word of ``vector``, from bit ``first`` on."""
    w, n = access.w, VECTOR_WORDS
    has = w.name(f"icmp ne {_TYPE} {w.name(f'and {_TYPE} {vector}, {masks}')}, zeroinitializer")
    few = w.name(f"bitcast <{n} x i1> {has} to i{n}")
    return w.name(f"shl i64 {w.name(f'zext i{n} {few} to i64')}, {first}")


def _together(access: Access, parts: list[str]) -> str:
    """The OR of words; far ones first, which keeps LLVM from packing vectors that are near:
    that takes longer than a shift."""
    w = access.w
    while len(parts) > 1:
        half = len(parts) // 2
        pairs = zip(parts[:half], parts[half : 2 * half], strict=True)
        parts = [w.name(f"or i64 {a}, {b}") for a, b in pairs] + parts[2 * half :]
    return parts[0] if parts else "0"
