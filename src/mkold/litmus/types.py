"""C types, as far as they change a value: width, sign, and what a pointer points to.

``int`` and ``atomic_t`` have 32 bits and ``long`` 64, as in the kernel on 64-bit machines;
``char`` is unsigned there. Structs are opaque words.

A value of a signed type is kept extended by its sign, of an unsigned one by zeros; a word of
memory holds the value of its object in the same way. Addresses fit into 31 bits, so a
pointer survives in an ``int``, as litmus tests have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from mkold.ir.nodes import WORD_BITS, WORD_MASK


@dataclass(frozen=True, slots=True)
class Type:
    """An integer type, or with ``target`` a pointer to that."""

    name: str
    bits: int
    signed: bool
    target: Type | None = None
    low: int = field(init=False)  # the least value
    high: int = field(init=False)  # the greatest
    cut: str = field(init=False)  # the operator that cuts a word to it; empty: it is as wide

    def __post_init__(self) -> None:
        cut = "" if self.bits == WORD_BITS else f"{'s' if self.signed else 'u'}{self.bits}"
        object.__setattr__(self, "low", -(1 << (self.bits - 1)) if self.signed else 0)
        object.__setattr__(self, "high", (1 << (self.bits - self.signed)) - 1)
        object.__setattr__(self, "cut", cut)

    def differs(self, other: Type) -> bool:
        """Whether a word of the one type would be another value of the other."""
        if self.target or other.target or OPAQUE in (self, other):
            return False
        return (self.bits, self.signed) != (other.bits, other.signed)

    def holds(self, low: int, high: int) -> bool:
        """Whether all of ``low`` to ``high`` are values of the type."""
        return self.low <= low and high <= self.high

    def wrapped(self, value: int) -> int:
        """``value`` as this type has it."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value >> (self.bits - 1) else value

    def word(self, value: int) -> int:
        """The word that stands for ``value`` of this type."""
        return self.wrapped(value) & WORD_MASK


INT, UINT = Type("int", 32, True), Type("unsigned int", 32, False)
LONG, ULONG = Type("long", 64, True), Type("unsigned long", 64, False)
BOOL = Type("bool", 1, False)
OPAQUE = Type("struct", 64, True)
_SIZED = {
    f"{sign}{bits}{end}": Type(f"{sign}{bits}{end}", bits, sign[0] in "si")
    for sign, end in (("u", ""), ("s", ""), ("uint", "_t"), ("int", "_t"))
    for bits in (8, 16, 32, 64)
}
_NAMED = {
    **_SIZED,
    "bool": BOOL, "_Bool": BOOL,
    "atomic_t": Type("atomic_t", 32, True), "atomic_int": INT,
    "atomic64_t": Type("atomic64_t", 64, True), "atomic_long_t": LONG,
    "intptr_t": Type("intptr_t", 64, True), "uintptr_t": Type("uintptr_t", 64, False),
    "size_t": ULONG, "ssize_t": LONG,
    "spinlock_t": OPAQUE, "raw_spinlock_t": OPAQUE, "rwlock_t": OPAQUE,
    "srcu_struct": OPAQUE, "mutex": OPAQUE, "mtx_t": OPAQUE, "void": LONG,
}  # fmt: skip
_BASIC = frozenset({"int", "char", "short", "long", "signed", "unsigned"})
_QUALIFIERS = frozenset({"volatile", "const", "static", "register", "struct", "_Atomic"})
TYPE_WORDS = frozenset(_NAMED) | _BASIC | _QUALIFIERS
_READ: dict[tuple[str, ...], Type] = {}


@cache
def pointer(target: Type) -> Type:
    """The type of a pointer to ``target``."""
    return Type(f"{target.name} *", 64, True, target)


def without_pointers(kind: Type) -> Type:
    """What is left of a declared type before its stars: in ``int *a, b``, ``int``."""
    while kind.target is not None:
        kind = kind.target
    return kind


def read_type(words: Sequence[str]) -> Type:
    """The type that a declaration's words before the name mean; unknown ones are opaque."""
    key = tuple(words)
    found = _READ.get(key)
    if found is None:
        found = _READ[key] = _read(key)
    return found


def _read(words: tuple[str, ...]) -> Type:
    basic = [word for word in words if word in _BASIC]
    if basic:
        found = _basic(basic)
    else:
        named = [word for word in words if word not in _QUALIFIERS and word != "*"]
        found = _NAMED.get(named[0], OPAQUE) if named else INT
    for _ in range(words.count("*")):
        found = pointer(found)
    return found


def _basic(words: Sequence[str]) -> Type:
    signed = "unsigned" not in words and not ("char" in words and "signed" not in words)
    bits = 8 if "char" in words else 16 if "short" in words else 64 if "long" in words else 32
    return Type(" ".join(words), bits, signed)
