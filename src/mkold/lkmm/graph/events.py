"""The event graph of a program: all events that can be, each under its guard.

Built by ``unroll``; read by both engines. ``Node.order`` is the tag of linux-kernel.bell.
A conditional read-modify-write is ordered only where its write happens
(linux-kernel.bell: FailedRMW).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mkold.base.errors import Pos
from mkold.ir.program import Program
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import NO_TAINT, Taint, Value

READ_KINDS = frozenset({"R", "LKR", "LF", "RL", "RU"})
WRITE_KINDS = frozenset({"W", "LKW", "UL"})

NOWHERE = -1  # no word has this address
INIT = -1  # source of a read that finds the initial word


class Life(Enum):
    """What a write does to the life of the object that its word is part of."""

    NONE = "none"
    GIVEN = "given"  # by an allocator
    SET_UP = "set up"  # a lock is initialised, which is no use of it
    FREED = "freed"


@dataclass(slots=True, eq=False)
class Node:
    """One event that can be.

    ``addr`` (``NOWHERE`` for a fence) and ``value`` are symbolic. ``rmw`` is the
    partner's id. ``conditional``: the tag counts only where the partner happens. ``must``:
    the value that a read has to find. ``life``: what a write does to its object. ``deps`` of
    each sort map read events to guards. Nodes of one ``group`` (not 0) are of one C
    expression, see ``paths.unordered``; ``args_deps`` are what all arguments depend on.
    ``stmt`` tells the statement from any other.
    """

    id: int
    thread: int
    po: int
    kind: str
    order: str
    guard: Guard
    addr: Value = NOWHERE
    value: Value = 0
    addr_deps: Taint = field(default_factory=lambda: NO_TAINT)
    data_deps: Taint = field(default_factory=lambda: NO_TAINT)
    ctrl_deps: Taint = field(default_factory=lambda: NO_TAINT)
    rmw: int = -1
    conditional: bool = False
    must: int | None = None
    life: Life = Life.NONE
    group: int = 0
    args_deps: Taint = field(default_factory=lambda: NO_TAINT)
    stmt: int = 0
    what: str = ""
    prim: str = ""
    at: Pos | None = None

    def needs(self) -> set[int]:
        """The reads that come before it in its expression."""
        return (
            self.addr_deps.keys()
            | self.data_deps.keys()
            | self.ctrl_deps.keys()
            | (self.args_deps.keys())
        )

    @property
    def is_read(self) -> bool:
        return self.kind in READ_KINDS

    @property
    def is_write(self) -> bool:
        return self.kind in WRITE_KINDS


@dataclass(frozen=True, slots=True)
class Decision:
    """A branch: taken under ``guard``, goes by ``cond``; ``cond`` None: either way."""

    guard: Guard
    cond: Value | None
    unit: int


@dataclass(frozen=True, slots=True)
class Check:
    """``flag`` is raised where ``guard`` holds and ``cond`` is not zero."""

    flag: str
    guard: Guard
    cond: Value
    unit: int


@dataclass(slots=True)
class Graph:
    """All of a program's events.

    ``units`` are the program's threads; a function run by ``call_rcu`` has its own thread
    number but the unit of its caller, whose decisions it shares. ``cuts``: guards under
    which a loop was left undone; ``waits``: under which a lock is waited for in vain, so
    the execution is not. ``finals[unit]`` maps locals of the entry function to
    their last value.
    """

    program: Program
    nodes: list[Node] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    cuts: list[tuple[Guard, int]] = field(default_factory=list)
    waits: list[tuple[Guard, int]] = field(default_factory=list)
    finals: list[dict[str, Value]] = field(default_factory=list)
    thread_names: list[str] = field(default_factory=list)
    unit_of_thread: list[int] = field(default_factory=list)
    domains: dict[int, tuple[int, ...]] = field(default_factory=dict)  # from the oracle
    private: int = 0  # next free word for call_rcu, above every address of the program
    first_private: int = 0
