"""The checked build: every address before it is used, every word read for POISON."""

from __future__ import annotations

from mkold.ir import boot
from mkold.ir.program import POISON
from mkold.native.llvm.place import Access

VECTOR_WORDS = 4


def within(access: Access, n_words: str) -> None:
    """``n_words`` from the address on lie in memory."""
    w, first = access.w, access.address
    total_at = w.name(f"getelementptr i64, ptr %b, i64 {boot.N_WORDS_TOTAL}")
    total = w.name(f"load i64, ptr {total_at}, align 8")
    room = w.name(f"sub i64 {total}, {boot.NULL_WORDS}")
    offset = w.name(f"sub i64 {first}, {boot.NULL_WORDS}")
    outside = w.name(f"icmp uge i64 {offset}, {room}")
    left = w.name(f"sub i64 {room}, {offset}")
    too_long = w.name(f"icmp ugt i64 {n_words}, {left}")
    bad = w.name(f"or i1 {outside}, {too_long}")
    w.fail_if(bad, w.site("out of bounds", access.op.what, access.op), first)


def no_poison(access: Access, word: str) -> None:
    """The whole word that was read is not POISON."""
    _refuse(access, access.w.name(f"icmp eq i64 {word}, {POISON}"))


def no_poison_around(access: Access) -> None:
    """The word that holds a narrow object is not POISON; the object alone would not show."""
    word = access.w.name(
        f"load atomic volatile i64, ptr {access.word_pointer()} monotonic, align 8"
    )
    no_poison(access, word)


def no_poison_among(access: Access, vector: str) -> None:
    """No word of a vector that was read is POISON."""
    w, n = access.w, VECTOR_WORDS
    same = w.name(f"icmp eq <{n} x i64> {vector}, splat (i64 {POISON})")
    _refuse(access, w.name(f"call i1 @llvm.vector.reduce.or.v{n}i1(<{n} x i1> {same})"))


def _refuse(access: Access, bad: str) -> None:
    w, op = access.w, access.op
    w.fail_if(bad, w.site("poison read", op.what, op), access.address)
