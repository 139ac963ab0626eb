"""What the engine hands back: executions, cycles and verdicts, as plain values.

Everything here is immutable, pickles, and knows nothing of how it was found. Pictures are
drawn from it (thread = column, program order = row, edges named as in linux-kernel.cat).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from mkold.base.errors import Pos

INIT_THREAD = -1
LOCK_KINDS = frozenset({"LKR", "LKW", "UL", "LF", "RL", "RU"})

# Flags of mkold's own, that neither linux-kernel.bell nor linux-kernel.cat raises.
OWN_FLAGS = frozenset(
    {
        "bug-on",
        "bad-call",
        "division-by-zero",
        "warn-on",
        "use-after-free",
        "use-before-init",
        "poison-address",
        "null-dereference",
        "wild-access",
        "hang",
        "sleep-in-atomic",
        "write-after-free",
        "double-free",
        "invalid-free",
        "out-of-bounds",
        "wild-address",
    }
)

# What leaves the rest of a verdict without a meaning, so that no answer may be given.
FAULTS = frozenset({"division-by-zero", "null-dereference", "wild-access"})


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an execution.

    Parameters
    ----------
    id : index in ``Execution.events``
    thread : index of the program's thread, -1 for an initial write. A function run by
        ``call_rcu`` is a thread of its own, numbered after the program's threads
    po : place in program order within the thread, counting from 0
    kind : ``R W F`` for reads, writes and fences; ``LKR LKW UL LF RL RU`` for locks;
        ``SRCU`` for ``synchronize_srcu``; ``IW`` for an initial write
    order : tag as in linux-kernel.bell (``once acquire release mb noreturn srcu-lock``
        ...), a fence's tag, or ``plain``
    address : word address, ``None`` for a fence
    place : the address as the program names it (``x``, ``kvm + 3``), empty for a fence
    value : value read or written, ``None`` for a fence
    what : the lvalue as the source wrote it, may be empty
    prim : primitive that made the event (``READ_ONCE``), empty for an initial write
    at : place in the source
    """

    id: int
    thread: int
    po: int
    kind: str
    order: str = ""
    address: int | None = None
    place: str = ""
    value: int | None = None
    what: str = ""
    prim: str = ""
    at: Pos | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """``relation`` holds from event number ``source`` to event number ``target``."""

    source: int
    relation: str
    target: int


class Axiom(Enum):
    """The axioms of linux-kernel.cat, by the names that it gives them."""

    COHERENCE = "coherence"
    ATOMIC = "atomic"
    HAPPENS_BEFORE = "happens-before"
    PROPAGATION = "propagation"
    RCU = "rcu"
    PLAIN_COHERENCE = "plain-coherence"
    LOCK = "lock"  # lock-nest and unmatched-locks of lock.cat


@dataclass(frozen=True, slots=True)
class Cycle:
    """Why an execution is forbidden.

    ``edges`` is a closed path of the axiom's own relation (``hb``, ``pb``, ``rb``, or
    ``po-loc rf co fr``); ``parts`` refines each edge to base steps (``rf co fr po mb
    addr ...``) between neighbouring events, a closed path too.
    """

    axiom: Axiom
    edges: tuple[Edge, ...]
    parts: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """A write to ``address`` at ``at``, that ``thread`` did not come to."""

    thread: int
    address: int
    at: Pos | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Where a thread waits for ever.

    Parameters
    ----------
    kind : ``loop`` (``events`` are the reads and writes of its last round), ``lock`` (one: the
        look at the lock) or ``grace`` (none; ``address`` is the srcu_struct's, None for RCU)
    at, prim : the loop, or the primitive that waits
    missed : writes of others to the words looked at, that did not come to happen
    """

    thread: int
    kind: str
    events: tuple[int, ...] = ()
    at: Pos | None = None
    prim: str = ""
    address: int | None = None
    missed: tuple[Missed, ...] = ()


@dataclass(frozen=True, slots=True)
class Execution:
    """One candidate execution, allowed or not.

    ``threads`` names the columns. ``edges`` has ``rf``, ``co`` (neighbours only), ``fr``
    (to the next write only), ``rmw``, ``addr``, ``data``, ``ctrl`` and, where a cycle or
    a race is shown, nothing else: those are in ``cycle``. ``final`` is the value of
    each entry of ``Program.observed``. ``race`` names two racing events, if any; ``waits``
    says of an execution at rest who is not done.
    """

    threads: tuple[str, ...]
    events: tuple[Event, ...]
    edges: tuple[Edge, ...]
    final: tuple[int, ...] = ()
    cycle: Cycle | None = None
    race: tuple[int, int] | None = None
    waits: tuple[Wait, ...] = ()


class Observation(Enum):
    """How often the formula of the condition holds over all allowed executions."""

    NEVER = "Never"
    SOMETIMES = "Sometimes"
    ALWAYS = "Always"


class Status(Enum):
    OK = "ok"
    BOUNDED = "bounded"  # a loop was cut: exact up to the bound
    TIMEOUT = "timeout"  # time or memory ran out: nothing is known


@dataclass(frozen=True, slots=True)
class CutLoop:
    """The loop at ``at`` in the source, which was left off after ``rounds`` rounds."""

    at: Pos | None
    rounds: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``decide`` found.

    Parameters
    ----------
    name : the program's
    status : ``BOUNDED``: exact for executions that leave every loop within the bound
    observation : ``None`` if undecided or if there is no condition. Asked without
        ``states``, the search stops at the first witness, so ``Always`` may read
        ``Sometimes`` and flags may be missing
    holds : the condition holds (herd's ``Ok`` / ``No``), ``None`` if undecided
    states : distinct valuations of ``Program.observed``, sorted; empty if not asked for
    flags : names as in linux-kernel.bell and .cat, and ``OWN_FLAGS``, sorted
    cpu_s : processor time spent
    n_candidates : executions looked at, in whatever way the engine counts them
    engine : which one decided, see ``engines``
    assumed : what was taken to be so without proof, a sentence each
    witness : an allowed execution that satisfies the formula, if asked for and there is one
    forbidden : if no allowed execution satisfies it: one that the model forbids, with its
        cycle
    flagged : for each flag an execution that shows it, if witnesses were asked for
    cuts : where ``BOUNDED``: the loops, if the engine says which
    exercised : the primitives that there are events of, and their places in the source
    """

    name: str
    status: Status
    observation: Observation | None = None
    holds: bool | None = None
    states: Sequence[tuple[int, ...]] = ()
    flags: tuple[str, ...] = ()
    cpu_s: float = 0.0
    n_candidates: int = 0
    engine: str = ""
    assumed: tuple[str, ...] = ()
    witness: Execution | None = None
    forbidden: Execution | None = None
    flagged: dict[str, Execution] = field(default_factory=dict)
    cuts: tuple[CutLoop, ...] = ()
    exercised: frozenset[tuple[str, Pos | None]] = frozenset()
