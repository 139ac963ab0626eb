"""What a word may be: a few words, each with its pasts, or else the bits that are known.

A word's *past* is the set of store sites through which it came, as a bit mask: where a word
is computed from itself, through memory and other threads, each site adds to it at most once,
since in an execution no value depends on itself. A word has several pasts if there are
several ways to come by it; the smallest are kept, or their common part where those are many:
a smaller past forbids less, so nothing that can happen is left out.

Everything here errs to the same side: more words than there can be, never fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from mkold.ir.nodes import NARROW, WORD_BITS, WORD_MASK, evaluate_binary, evaluate_unary

FEW = 32  # words, before only their bits are known
MOST_PASTS = 8  # of one word
PAIRS = 4_096  # of words to combine

Pasts = tuple[int, ...]  # masks of store sites, none of which contains another
NOTHING: Pasts = (0,)
Few = dict[int, Pasts]


class Partly(NamedTuple):
    """Any word with these bits 0 and those bits 1."""

    zeros: int
    ones: int


ANY = Partly(0, 0)
TRUTH: Few = {0: NOTHING, 1: NOTHING}
Abstract = Few | Partly


def constant(word: int) -> Few:
    """One word."""
    return {word: NOTHING}


def only(a: Abstract) -> int | None:
    """The one word that it can be, or None."""
    return next(iter(a)) if isinstance(a, dict) and len(a) == 1 else None


def partly(a: Abstract) -> Partly:
    """The bits that all its words share."""
    if isinstance(a, Partly):
        return a
    zeros = ones = WORD_MASK
    for word in a:
        ones &= word
        zeros &= ~word
    return Partly(zeros, ones)


def may_be(a: Abstract, word: int) -> bool:
    """Whether it can be ``word``."""
    if isinstance(a, dict):
        return word in a
    return not word & a.zeros and word & a.ones == a.ones


def settled(a: Abstract) -> Abstract:
    """As words if all bits are known, as bits if the words are many."""
    if isinstance(a, Partly):
        return {a.ones: NOTHING} if a.zeros | a.ones == WORD_MASK else a
    return a if len(a) <= FEW else partly(a)


def smallest(pasts: Iterable[int]) -> Pasts:
    """The pasts that contain no other; or, if those are many, their common part."""
    kept: list[int] = []
    for past in sorted(set(pasts), key=int.bit_count):
        if not any(other & past == other for other in kept):
            kept.append(past)
    if len(kept) > MOST_PASTS:
        common = kept[0]
        for past in kept:
            common &= past
        return (common,)
    return tuple(kept)


def join(a: Abstract, b: Abstract) -> Abstract:
    """What is either."""
    if a is b:
        return a
    if isinstance(a, dict) and isinstance(b, dict):
        found = dict(a)
        for word, pasts in b.items():
            have = found.get(word)
            if have is None:
                found[word] = pasts
            elif have != pasts:
                found[word] = smallest(have + pasts)
        return settled(found)
    one, two = partly(a), partly(b)
    return settled(Partly(one.zeros & two.zeros, one.ones & two.ones))


def through(site: int, a: Abstract) -> Abstract:
    """``a`` after a store at ``site`` (one bit); words that came through it already are not."""
    if isinstance(a, Partly):
        return a
    found: Few = {}
    for word, pasts in a.items():
        left = [past | site for past in pasts if not past & site]
        if left:
            found[word] = smallest(left)
    return found


# -- operators ----------------------------------------------------------------------------


def unary(op: str, a: Abstract) -> Abstract:
    """``op`` of ``mkold.ir.nodes.UNARY``."""
    if isinstance(a, dict):
        found: Few = {}
        for word, pasts in a.items():
            result = evaluate_unary(op, word)
            found[result] = smallest(found[result] + pasts) if result in found else pasts
        return found
    if op == "not":
        return Partly(a.ones, a.zeros)
    if op == "lnot":
        return constant(0) if a.ones else TRUTH
    if op in NARROW:
        return _narrowed(a, *NARROW[op])
    return ANY


def _narrowed(a: Partly, width: int, signed: bool) -> Abstract:
    low = (1 << width) - 1
    high, sign = WORD_MASK & ~low, 1 << (width - 1)
    zeros, ones = a.zeros & low, a.ones & low
    if not signed or zeros & sign:
        zeros |= high
    elif ones & sign:
        ones |= high
    return settled(Partly(zeros, ones))


def binary(op: str, a: Abstract, b: Abstract) -> Abstract:
    """``op`` of ``mkold.ir.nodes.BINARY``."""
    if isinstance(a, dict) and isinstance(b, dict) and len(a) * len(b) <= PAIRS:
        return _each(op, a, b)
    x, y = partly(a), partly(b)
    rule = _RULES.get(op)
    return ANY if rule is None else settled(rule(op, x, y))


def _each(op: str, a: Few, b: Few) -> Abstract:
    found: Few = {}
    for x, one in a.items():
        for y, two in b.items():
            word = evaluate_binary(op, x, y)
            if one == NOTHING:
                pasts = two
            elif two == NOTHING:
                pasts = one
            else:
                pasts = smallest(i | j for i in one for j in two)
            found[word] = smallest(found[word] + pasts) if word in found else pasts
    return settled(found)


def _bitwise(op: str, a: Partly, b: Partly) -> Abstract:
    if op == "and":
        return Partly(a.zeros | b.zeros, a.ones & b.ones)
    if op == "or":
        return Partly(a.zeros & b.zeros, a.ones | b.ones)
    known = (a.zeros | a.ones) & (b.zeros | b.ones)
    ones = (a.ones ^ b.ones) & known
    return Partly(known & ~ones, ones)


def _shift(op: str, a: Partly, b: Partly) -> Abstract:
    if b.zeros | b.ones != WORD_MASK:
        return ANY
    by = min(b.ones, WORD_BITS)
    if op == "shl":
        low = (1 << by) - 1
        return Partly((a.zeros << by | low) & WORD_MASK, a.ones << by & WORD_MASK)
    high = WORD_MASK & ~(WORD_MASK >> by)
    zeros, ones = a.zeros >> by, a.ones >> by
    if op == "lshr" or a.zeros >> (WORD_BITS - 1):
        zeros |= high
    elif a.ones >> (WORD_BITS - 1):
        ones |= high
    return Partly(zeros, ones)


def _sum(op: str, a: Partly, b: Partly) -> Abstract:
    """The low bits that are known in both, and how far a sum can reach."""
    known = (a.zeros | a.ones) & (b.zeros | b.ones)
    low = (~known & (known + 1)) - 1 if known != WORD_MASK else WORD_MASK
    word = evaluate_binary(op, a.ones & low, b.ones & low) & low
    zeros = ~word & low
    if op == "add":
        most = _largest(a) + _largest(b)
        if most <= WORD_MASK:
            zeros |= WORD_MASK & ~((1 << most.bit_length()) - 1)
    return Partly(zeros, word)


def _equal(op: str, a: Partly, b: Partly) -> Abstract:
    if a.zeros & b.ones or a.ones & b.zeros:
        return constant(int(op == "ne"))
    return TRUTH


def _below(op: str, a: Partly, b: Partly) -> Abstract:
    if op in ("slt", "sle"):
        return TRUTH
    strictly = op == "ult"
    if _largest(a) < b.ones or (not strictly and _largest(a) == b.ones):
        return constant(1)
    if a.ones > _largest(b) or (strictly and a.ones == _largest(b)):
        return constant(0)
    return TRUTH


def _quotient(op: str, a: Partly, b: Partly) -> Abstract:
    most = _largest(a) if op == "udiv" else min(_largest(a), _largest(b))
    return Partly(WORD_MASK & ~((1 << most.bit_length()) - 1), 0)


def _largest(a: Partly) -> int:
    return ~a.zeros & WORD_MASK


_RULES: dict[str, Callable[[str, Partly, Partly], Abstract]] = {
    **dict.fromkeys(("and", "or", "xor"), _bitwise),
    **dict.fromkeys(("shl", "lshr", "ashr"), _shift),
    **dict.fromkeys(("add", "sub"), _sum),
    **dict.fromkeys(("eq", "ne"), _equal),
    **dict.fromkeys(("ult", "ule", "slt", "sle"), _below),
    **dict.fromkeys(("udiv", "umod"), _quotient),
}


def widened(before: Abstract, after: Abstract, *, pasts_only: bool) -> Abstract:
    """What grows without end: pasts are forgotten, then bits, from the lowest changed on."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return dict.fromkeys(after, NOTHING)
    if pasts_only:
        return after
    one, two = partly(before), partly(after)
    changed = (one.zeros ^ two.zeros) | (one.ones ^ two.ones)
    low = (changed & -changed) - 1 if changed else WORD_MASK
    return settled(Partly(two.zeros & low, two.ones & low))
