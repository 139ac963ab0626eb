"""What accesses compute: the one definition, over any algebra.

Rules
-----
* An object narrower than a word has a word of its own, which holds it extended by zeros, or
  by its sign if the access is *signed*; or it is a *part*: ``width`` bits from bit ``shift``
  of a larger word, and a store to it leaves the others as they are.
* A load gives the object, extended likewise. A store cuts what it stores.
* A read-modify-write computes modulo ``2**width``.
* Bit ``n`` of a bitmap is bit ``n & 63`` of the word ``n >> 6`` words behind the first, as in
  the kernel; ``n`` is a word, so a negative one is far behind, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from mkold.ir.algebra import Algebra, V
from mkold.ir.nodes import WORD_BITS, Op
from mkold.ir.prims import Gives, Order, Prim, Shape, Takes, When

_BIT_SHIFT = 6


def fits(row: Prim, width: int, shift: int | None) -> bool:
    """Whether ``row`` is for an object of ``width`` bits; at bit ``shift`` of its word, if
    it is a part of one."""
    if width == WORD_BITS and shift is None:
        return True
    on_objects = row.shape in (Shape.LOAD, Shape.STORE, Shape.RMW) and not row.native
    on_objects |= Takes.OVER_VAL in row.takes
    if row.width or not on_objects or width not in (8, 16, 32):
        return False
    if shift is None:
        return True
    # A part: as a processor can load and store it, and never plainly stored.
    plain_store = row.shape is Shape.STORE and row.order is Order.PLAIN
    inside = shift % width == 0 and 0 <= shift < WORD_BITS
    return inside and row.shape is not Shape.RMW and not plain_store


def narrowed(algebra: Algebra[V], word: V, width: int, *, signed: bool = False) -> V:
    """``word`` cut to ``width`` bits."""
    if width == WORD_BITS:
        return word
    return algebra.unary(f"{'s' if signed else 'u'}{width}", word)


def found(algebra: Algebra[V], word: V, op: Op) -> V:
    """The object that has the whole of ``word``."""
    return word if op.signed else narrowed(algebra, word, op.width)


def loaded(algebra: Algebra[V], word: V, op: Op) -> V:
    """What ``op`` gives that loads its object from ``word``."""
    if op.shift is not None:
        word = algebra.binary("lshr", word, algebra.word(op.shift))
    return found(algebra, word, op)


def merged(algebra: Algebra[V], word: V, value: V, op: Op) -> V:
    """``word`` after ``op`` stored ``value``, already cut, to a part of it."""
    assert op.shift is not None
    others = algebra.word(~(((1 << op.width) - 1) << op.shift))
    placed = algebra.binary("shl", value, algebra.word(op.shift))
    return algebra.binary("or", algebra.binary("and", word, others), placed)


def stored(algebra: Algebra[V], row: Prim, op: Op, args: Sequence[V]) -> V:
    """The object that a store stores."""
    value = _argument(algebra, row, args, Takes.OPERAND, row.operand)
    return narrowed(algebra, value, op.width, signed=op.signed)


def address(algebra: Algebra[V], row: Prim, args: Sequence[V]) -> V:
    """The address of the word that ``row`` is about."""
    if Takes.BIT not in row.takes:
        return args[0]
    word = algebra.binary("lshr", args[row.takes.index(Takes.BIT)], algebra.word(_BIT_SHIFT))
    return algebra.binary("add", args[0], word)


def update(algebra: Algebra[V], row: Prim, op: Op, args: Sequence[V]) -> Update[V]:
    """The read-modify-write ``op``, its arguments known and the old word not yet."""
    if Takes.BIT in row.takes:
        bit = args[row.takes.index(Takes.BIT)]
        inside = algebra.binary("and", bit, algebra.word(WORD_BITS - 1))
        operand = algebra.binary("shl", algebra.word(1), inside)
    else:
        operand = stored(algebra, row, op, args)
    against = None
    if row.when is not When.ALWAYS:
        against = _argument(algebra, row, args, Takes.AGAINST, row.against)
        against = narrowed(algebra, against, op.width, signed=op.signed)
    return Update(algebra, row, op.width, op.signed, operand, against)


def _argument(
    algebra: Algebra[V], row: Prim, args: Sequence[V], takes: Takes, implied: int | None
) -> V:
    if implied is not None:
        return algebra.word(implied)
    return args[row.takes.index(takes)]


@dataclass(frozen=True, slots=True)
class Update(Generic[V]):
    """What a read-modify-write does to the object ``old`` that it finds."""

    algebra: Algebra[V]
    row: Prim
    width: int
    signed: bool
    operand: V
    against: V | None

    def done(self, old: V) -> V | None:
        """Whether it stores; ``None``: always."""
        if self.against is None:
            return None
        op = "eq" if self.row.when is When.EQUAL else "ne"
        return self.algebra.binary(op, old, self.against)

    def new(self, old: V) -> V:
        """The object that it stores."""
        op, operand = self.row.op, self.operand
        if op == "set":
            return operand
        if op == "andnot":
            return self.algebra.binary("and", old, self.algebra.unary("not", operand))
        new = self.algebra.binary(op, old, operand)
        return narrowed(self.algebra, new, self.width, signed=self.signed)

    def results(self, old: V, done: V | None = None) -> tuple[V, ...]:
        """Its results; ``done``: what is known of whether it stores."""
        return tuple(self._result(gives, old, done) for gives in self.row.gives)

    def _result(self, gives: Gives, old: V, done: V | None) -> V:
        binary, zero = self.algebra.binary, self.algebra.word(0)
        match gives:
            case Gives.OLD:
                return old
            case Gives.NEW:
                return self.new(old)
            case Gives.ZERO:
                return binary("eq", self.new(old), zero)
            case Gives.NEGATIVE:
                new = self.new(old)
                if self.width != WORD_BITS and not self.signed:
                    new = self.algebra.unary(f"s{self.width}", new)
                return binary("slt", new, zero)
            case Gives.BIT:
                return binary("ne", binary("and", old, self.operand), zero)
            case Gives.DONE:
                found = self.done(old) if done is None else done
                return self.algebra.word(1) if found is None else found
            case _:
                raise AssertionError(f"{self.row.name} gives {gives.value} of no old word")
