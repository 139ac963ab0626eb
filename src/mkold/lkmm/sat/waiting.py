"""Where a thread may stop, or go round a loop for nothing; kept for the questions asked.

A *waiting round* is a round of a loop after which the loop goes on and nothing is changed:
the locals that a later round or what follows the loop takes over have the words that they
had; each word of memory that the round writes, it puts back by the read-modify-write that
found it, or it is a lock taken and left again that nobody looks at but by taking it (who sets
up or frees a lock does not look; done within a round, it is a race or a use after free there).

Why rounds are left out, and which are kept
-------------------------------------------
1. *Leaving a waiting round out of an allowed execution leaves an allowed execution of the
   program.* Its reads have no edges that lead on but through program order; a word that it
   put back was there before, so who found the round's write may find the one before it, and
   what that takes away was ordered through the pair of read and write anyway. Fewer events
   order less. So every final state is one of an execution without waiting rounds.
2. *What goes wrong in a waiting round* (a check, a stray access, freed memory, a race)
   is seen if that round alone is kept: leave out all others, and the events that show it have
   the sources that they had. A round within a round needs the outer one too, so kept rounds
   may nest. Two waiting rounds race only where one of them writes: then both are kept.
   A kept round is one more round of the loop, under a decision of its own (``Keep``).
3. *A thread that never ends* is stopped behind a waiting round (``Stand``), or before a lock or
   a grace period for which it waits. What happens in a program whose threads may stop there is
   a beginning of what happens in it: let them go on one after the other, each read finding the
   last write in coherence order; nothing new precedes anything old. So a flag that a stopped
   execution shows is a flag of the program. A read-side section that is open where its thread
   stops counts as one that ends after all it has (see ``grace``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mkold.base.errors import Pos
from mkold.ir.prims import Prim
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import Value


@dataclass(frozen=True, slots=True)
class Stand:
    """Under ``guard`` the thread ``thread`` of ``unit`` stops after ``nodes``.

    ``kind`` is ``loop`` (``nodes`` are the waiting round), ``lock`` (one node: the look at the
    lock) or ``grace`` (none; ``srcu`` is the address waited for, None for plain RCU). ``po`` is
    the place in program order where it stops.
    """

    guard: Guard
    unit: int
    thread: int
    po: int
    kind: str
    nodes: tuple[int, ...] = ()
    srcu: Value | None = None
    prim: str = ""
    what: str = ""
    at: Pos | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """Under ``guard`` a waiting round is kept; ``where`` names the round."""

    guard: Guard
    unit: int
    where: tuple[object, ...] = field(compare=False)
    nodes: tuple[int, ...] = ()

    def within(self, other: Keep) -> bool:
        """Whether this round is in, or is, the other."""
        return self.where[: len(other.where)] == other.where


@dataclass(frozen=True, slots=True)
class Cut:
    """Under ``guard`` the loop at ``at`` would go on after ``rounds`` rounds, its bound.

    ``loop`` is the identity of the loop in the source. ``reads`` are the last round's.
    ``poisoned``: only paths that found freed memory get here. ``rings``: where the last rounds,
    whose nodes they are, came back to where they began and wrote nothing. If no other thread
    writes to what they read, they go on so for ever. ``endless``: the loop is never left.
    """

    guard: Guard
    unit: int
    thread: int
    loop: int
    rounds: int
    reads: tuple[int, ...] = ()
    at: Pos | None = None
    poisoned: bool = False
    rings: tuple[tuple[Guard, tuple[int, ...]], ...] = ()
    endless: bool = False


def is_quiet(row: Prim) -> bool:
    """Whether it takes or leaves a lock, which nobody sees who only takes and leaves it."""
    takes = row.holds is not None and (row.holds.waits or row.holds.sort == "srcu")
    return takes or row.leaves in ("lock", "mutex", "srcu")
