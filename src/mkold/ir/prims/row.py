"""What a row of the table of primitives says.

A row is all that mkold knows of a primitive. Its ``shape`` says what sort of thing it is;
each reading has one case a shape. Everything else is in columns: what it takes and gives,
how it is ordered in LKMM's words, what a read-modify-write computes and when it stores, what
is held after it, left by it, or awaited.

Events by shape under LKMM (tags as in linux-kernel.bell; ``read`` and ``write`` are those of
the row's order)::

    LOAD         R[read]
    STORE        W[write], then F[after] if the row has one
    RMW          R[read] rmw W[write]. One that may fail to store orders nothing then: its
                 tags count only where the write happens
    LOAD_WHICH   n R[once] of consecutive words, in no order among themselves; gives a
                 bit for each, so n is 64 at most
    POISON       plain W of the row's poison to each of n words; natively both are one
    FENCE        F[op]
    LOCK         LKR rmw LKW (acquire); UNLOCK UL (release); TRYLOCK LKR, LKW or LF
    IS_LOCKED    RL or RU
    SRCU_LOCK    R[srcu-lock]; SRCU_UNLOCK W[srcu-unlock]; SYNC_SRCU SRCU[sync-srcu]
    PREFETCH     nothing: what it loads, if anything, no program sees

Sources: tools/memory-model/linux-kernel.{def,bell,cat}, lock.cat,
Documentation/herd-representation.txt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mkold.ir.nodes import Op, Stmt

# The local that an argument over the word at the place reads it as.
VAL = "VAL"


class Shape(Enum):
    """What a primitive does."""

    LOAD = "load"
    STORE = "store"
    RMW = "rmw"
    LOAD_WHICH = "load_which"
    PREFETCH = "prefetch"
    POISON = "poison"
    FENCE = "fence"
    LOCK = "lock"
    TRYLOCK = "trylock"
    UNLOCK = "unlock"
    IS_LOCKED = "is_locked"
    SRCU_LOCK = "srcu_lock"
    SRCU_UNLOCK = "srcu_unlock"
    SYNC_SRCU = "sync_srcu"
    BUG_ON = "bug_on"
    BAD_CALL = "bad_call"
    WARN_ON = "warn_on"
    CPU_RELAX = "cpu_relax"
    CPU_ID = "cpu_id"
    CYCLES = "cycles"
    OTHERS = "others"  # what its row says in other primitives


class Takes(Enum):
    """What an argument is."""

    PLACE = "place"  # the address of one word
    STRUCT = "struct"  # the address of a struct of the primitive's own
    OPERAND = "operand"  # the word to store, or to compute the new word with
    AGAINST = "against"  # the word that the old one is compared with
    BIT = "bit"  # the number of a bit, counted from bit 0 of the place on
    COUNT = "count"  # how many words from the place on
    MASK = "mask"  # bits to look at
    COOKIE = "cookie"  # what the primitive gave that this one ends
    CONDITION = "condition"
    OVER_VAL = "over_val"  # a condition on what is at the place, which it calls VAL
    WORD = "word"


class Gives(Enum):
    """What a result is."""

    OLD = "old"  # the word that was there
    NEW = "new"  # the word that is there now
    DONE = "done"  # whether it happened
    ZERO = "zero"  # whether the new word is 0
    NEGATIVE = "negative"  # whether the new word is negative, at its width
    BIT = "bit"  # whether the bit was set
    CONDITION = "condition"  # whether the condition held
    WORD = "word"  # a word that is of no place

    @property
    def is_truth(self) -> bool:
        """Whether the result is 0 or 1."""
        return self not in (Gives.OLD, Gives.NEW, Gives.WORD)


class Order(Enum):
    """How an access is ordered: the tags of its read and of its write, and how strongly.

    A weaker order may stand in the place of a stronger one to ask whether that is needed.
    """

    PLAIN = ("plain", "plain", 0)
    ONCE = ("once", "once", 1)
    NORETURN = ("noreturn", "once", 1)
    ACQUIRE = ("acquire", "once", 2)
    RELEASE = ("once", "release", 2)
    MB = ("mb", "mb", 3)
    NONE = ("", "", 0)

    def __init__(self, read: str, write: str, strength: int) -> None:
        self.read, self.write, self.strength = read, write, strength


class When(Enum):
    """Where a read-modify-write stores; elsewhere it only reads, and orders nothing."""

    ALWAYS = "always"
    EQUAL = "equal"  # the old word is the one it is compared with
    UNEQUAL = "unequal"  # it is not


@dataclass(frozen=True, slots=True)
class Holds:
    """What is held once the primitive is done.

    ``sort``: ``lock``, ``mutex``, ``rcu`` or ``srcu``; ``alone``: nobody else holds it then;
    ``waits``: until it can be had.
    """

    sort: str
    alone: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prim:
    """One row.

    Attributes
    ----------
    takes, gives : arguments and results, in the order of an ``Op``
    order : how its access is ordered
    op : an RMW's arithmetic: ``set``, a binary operator, or ``andnot``; a FENCE's tag; the
        flag that a BUG_ON raises
    when : where an RMW stores
    operand, against : these words, for a row that does not take them
    after : tag of a fence that follows the access
    family : rows of one family differ in order alone: ``atomic``, ``atomic64``, ...
    width : the only width of object it is for; 0: any
    macro : its arguments as C gives them, a letter each: ``l`` the lvalue, ``p`` its
        address, ``v`` a value in order; None: C has no such macro
    holds, leaves, awaits : what is held after it; the sort of thing that it leaves; that it
        waits for all others to leave
    ends : the primitive that ends what this one begins
    sleeps : it may sleep, so not where one must not
    meaning : what a use of it stands for, in other primitives; no reading has a case for it
    native : ``module:function`` of the kernel Python that it is natively; empty where
        machine code follows from the row
    source : where the facts are from
    """

    name: str
    shape: Shape
    takes: tuple[Takes, ...] = ()
    gives: tuple[Gives, ...] = ()
    order: Order = Order.NONE
    op: str = ""
    when: When = When.ALWAYS
    operand: int | None = None
    against: int | None = None
    after: str = ""
    family: str = ""
    width: int = 0
    macro: str | None = None
    holds: Holds | None = None
    leaves: str = ""
    awaits: str = ""
    ends: str = ""
    sleeps: bool = False
    meaning: Callable[[Op], tuple[Stmt, ...]] | None = None
    native: str = ""
    source: str = ""

    @property
    def n_args(self) -> int:
        return len(self.takes)

    @property
    def n_dsts(self) -> int:
        return len(self.gives)

    @property
    def lvalue(self) -> bool:
        """Whether the first argument is the address of a place in memory."""
        return self.takes[:1] in ((Takes.PLACE,), (Takes.STRUCT,))

    @property
    def can_fail(self) -> bool:
        """Whether it is a read-modify-write that may do nothing (and goes on then)."""
        return self.when is not When.ALWAYS and not self.waits

    @property
    def waits(self) -> bool:
        """Whether it goes on only once it could be done."""
        return self.holds is not None and self.holds.waits
