"""64-bit words as tuples of literals, lowest bit first: the arithmetic of ``mkold.ir.nodes``.

Known words fold to constants and equal words are the same tuple, so most of a program's
address arithmetic costs no gate. Division is long division, checked against the one
definition of arithmetic by tests, like every other operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mkold.ir.nodes import NARROW, WORD_BITS, evaluate_binary, evaluate_unary
from mkold.lkmm.sat.gates import Gates
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit, Solver

Bits = tuple[Lit, ...]


def known(bits: Sequence[Lit]) -> int | None:
    """The word, if it is constant."""
    word = 0
    for i, bit in enumerate(bits):
        if bit == TRUE:
            word |= 1 << i
        elif bit != FALSE:
            return None
    return word


class Words(Gates):
    """Word arithmetic over ``solver``."""

    def __init__(self, solver: Solver) -> None:
        super().__init__(solver)
        self._shared: dict[Bits, Bits] = {}
        self._constants: dict[int, Bits] = {}

    def constant(self, word: int) -> Bits:
        """A known word."""
        bits = self._constants.get(word)
        if bits is None:
            made = tuple(TRUE if word >> i & 1 else FALSE for i in range(WORD_BITS))
            bits = self._constants[word] = self.share(made)
        return bits

    def share(self, bits: Bits) -> Bits:
        """The one tuple that stands for these bits."""
        return self._shared.setdefault(bits, bits)

    def fresh(self, zeros: int = 0, ones: int = 0) -> Bits:
        """An unknown word, but for the bits known to be 0 and 1."""
        new = self.solver.new
        return tuple(
            FALSE if zeros >> i & 1 else TRUE if ones >> i & 1 else new()
            for i in range(WORD_BITS)
        )

    # -- tests --------------------------------------------------------------------

    def same(self, a: Bits, b: Bits) -> Lit:
        """The two words are equal."""
        if a is b or a == b:
            return TRUE
        if any(x == -y for x, y in zip(a, b, strict=True)):
            return FALSE
        return self.all([-self.differ(x, y) for x, y in zip(a, b, strict=True)])

    def is_word(self, a: Bits, word: int) -> Lit:
        """The word is ``word``."""
        lits = []
        for i, bit in enumerate(a):
            lit = bit if word >> i & 1 else -bit
            if lit == FALSE:
                return FALSE
            lits.append(lit)
        return self.all(lits)

    def nonzero(self, a: Bits) -> Lit:
        """The word is not 0."""
        return self.any(a)

    def less(self, a: Bits, b: Bits) -> Lit:
        """``a < b``, unsigned: no carry out of ``a + ~b + 1``."""
        return -self._sum(a, tuple(-y for y in b), TRUE)[1]

    # -- operators ----------------------------------------------------------------

    def unary(self, op: str, a: Bits) -> Bits:
        """``op`` of ``mkold.ir.nodes.UNARY``."""
        word = known(a)
        if word is not None:
            return self.constant(evaluate_unary(op, word))
        if op in NARROW:
            width, signed = NARROW[op]
            high = a[width - 1] if signed else FALSE
            return self.share((*a[:width], *[high] * (WORD_BITS - width)))
        if op == "not":
            return self.share(tuple(-x for x in a))
        if op == "neg":
            return self._negative(a)
        return self._truth(-self.nonzero(a))

    def binary(self, op: str, a: Bits, b: Bits) -> Bits:
        """``op`` of ``mkold.ir.nodes.BINARY``."""
        x, y = known(a), known(b)
        if x is not None and y is not None:
            return self.constant(evaluate_binary(op, x, y))
        return self.share(self._binary(op, a, b, y))

    def choose_word(self, c: Lit, a: Bits, b: Bits) -> Bits:
        """``a`` where ``c`` holds, else ``b``."""
        if a is b or c == TRUE:
            return a
        if c == FALSE:
            return b
        choose = self.choose
        return self.share(tuple([choose(c, x, y) for x, y in zip(a, b, strict=True)]))

    def one_of(self, ways: Iterable[tuple[Lit, Bits]]) -> Bits:
        """The word of the way whose literal holds; exactly one does."""
        columns: list[list[Lit]] = [[] for _ in range(WORD_BITS)]
        for lit, bits in ways:
            for column, bit in zip(columns, bits, strict=True):
                column.append(self.both(lit, bit))
        return self.share(tuple(map(self.any, columns)))

    def _binary(self, op: str, a: Bits, b: Bits, y: int | None) -> Bits:
        match op:
            case "and":
                return tuple(map(self.both, a, b))
            case "or":
                return tuple(map(self.either, a, b))
            case "xor":
                return tuple(map(self.differ, a, b))
            case "add":
                return self._sum(a, b, FALSE)[0]
            case "sub":
                return self._sum(a, tuple(-bit for bit in b), TRUE)[0]
            case "mul":
                return self._product(a, b)
            case "eq" | "ne":
                same = self.same(a, b)
                return self._truth(same if op == "eq" else -same)
            case "ult":
                return self._truth(self.less(a, b))
            case "ule":
                return self._truth(-self.less(b, a))
            case "slt" | "sle":
                a, b = (*a[:-1], -a[-1]), (*b[:-1], -b[-1])
                return self._truth(self.less(a, b) if op == "slt" else -self.less(b, a))
            case "shl" | "lshr" | "ashr":
                return self._shift(op, a, b) if y is None else _moved(op, a, y)
            case "udiv" | "umod":
                return self._divide(a, b)[op == "umod"]
        return self._divide_signed(op, a, b)

    def _truth(self, lit: Lit) -> Bits:
        return self.share((lit, *[FALSE] * (WORD_BITS - 1)))

    def _sum(self, a: Bits, b: Bits, carry: Lit) -> tuple[Bits, Lit]:
        """``a + b + carry``, and the carry out."""
        out = []
        for x, y in zip(a, b, strict=True):
            half = self.differ(x, y)
            out.append(self.differ(half, carry))
            carry = self.either(self.both(x, y), self.both(half, carry))
        return tuple(out), carry

    def _negative(self, a: Bits) -> Bits:
        return self.share(self._sum(tuple(-x for x in a), self.constant(0), TRUE)[0])

    def _product(self, a: Bits, b: Bits) -> Bits:
        if known(a) is None:
            a, b = b, a
        total = self.constant(0)
        for i, bit in enumerate(a):
            if bit != FALSE:
                row = tuple(self.both(bit, x) for x in b[: WORD_BITS - i])
                total = self._sum(total, (*[FALSE] * i, *row), FALSE)[0]
        return total

    def _shift(self, op: str, a: Bits, b: Bits) -> Bits:
        """A barrel shifter: by each power of two in turn."""
        out = a
        for i in range(6):
            out = self.choose_word(b[i], _moved(op, out, 1 << i), out)
        fill = a[-1] if op == "ashr" else FALSE
        return self.choose_word(self.any(b[6:]), (fill,) * WORD_BITS, out)

    def _divide(self, a: Bits, b: Bits) -> tuple[Bits, Bits]:
        """Quotient and remainder; both 0 where ``b`` is."""
        y = known(b)
        if y is not None and y & (y - 1) == 0 and y:
            low = y.bit_length() - 1
            return _moved("lshr", a, low), (*a[:low], *[FALSE] * (WORD_BITS - low))
        quotient: list[Lit] = []
        rest = self.constant(0)
        for bit in reversed(a):
            top, rest = rest[-1], (bit, *rest[:-1])
            less, carry = self._sum(rest, tuple(-x for x in b), TRUE)
            fits = self.either(top, carry)  # a bit fell out, or rest >= b
            quotient.append(fits)
            rest = self.choose_word(fits, less, rest)
        zero, some = self.constant(0), self.nonzero(b)
        return (self.choose_word(some, tuple(reversed(quotient)), zero),
                self.choose_word(some, rest, zero))  # fmt: skip

    def _divide_signed(self, op: str, a: Bits, b: Bits) -> Bits:
        """Rounds towards 0; the remainder has the sign of ``a``."""
        size_a = self.choose_word(a[-1], self._negative(a), a)
        size_b = self.choose_word(b[-1], self._negative(b), b)
        quotient, rest = self._divide(size_a, size_b)
        if op == "sdiv":
            sign = self.differ(a[-1], b[-1])
            return self.choose_word(sign, self._negative(quotient), quotient)
        return self.choose_word(a[-1], self._negative(rest), rest)


def _moved(op: str, a: Bits, by: int) -> Bits:
    """``a`` shifted by a known number."""
    by = min(by, WORD_BITS)
    if op == "shl":
        return (*[FALSE] * by, *a[: WORD_BITS - by])
    return (*a[by:], *[a[-1] if op == "ashr" else FALSE] * by)
