"""The flags that mkold raises itself, whatever the engine: see ``verdict.OWN_FLAGS``.

They are asked of the allowed executions of one choice of paths, all of them at once or
one at a time: an engine says what it holds them in (``Executions``).

* ``bug-on``, ``warn-on`` ...: a check in the program fires;
* ``null-dereference``, ``poison-address``, ``wild-access``: an access at word 0, at an
  address made from poison, or where the program has no word;
* ``use-before-init``, ``use-after-free``: a read finds poison, which was there from the
  beginning or was put there;
* ``deadlock``: the threads may wait for one another in a ring (see ``waiting``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, TypeVar

from mkold.ir.program import POISON, Program
from mkold.lkmm.graph.values import Constraint
from mkold.lkmm.paths.paths import Path
from mkold.lkmm.paths.waiting import ring
from mkold.lkmm.verdict import FAULTS

POISON_REACH = 1 << 16  # words behind POISON that count as an address made from it

S = TypeVar("S", covariant=True)


class Executions(Protocol[S]):
    """Some executions that took the same paths; an ``S`` stands for part of them."""

    def every(self) -> S:
        """All of them."""

    def where(self, constraint: Constraint) -> S:
        """Those that meet ``constraint``."""

    def finding(self, word: int) -> Iterator[tuple[S, S]]:
        """For each read that may find ``word``: where that was the initial word, and where
        it was stored."""


def own_flags(
    program: Program, paths: Sequence[Path], executions: Executions[S], known: Collection[str]
) -> Iterator[tuple[str, S]]:
    """Flags, each with the executions that raise it; one may come more than once.

    Of the flags in ``known`` no further execution is needed.
    """
    for path in paths:
        for flag, cond in path.checks:
            yield flag, executions.where(Constraint(cond, None))
        for flag in _bad_addresses(path, program.words):
            yield flag, executions.every()
    for initial, stored in executions.finding(POISON):
        yield "use-before-init", initial
        yield "use-after-free", stored
    if "deadlock" not in known and ring(paths):
        yield "deadlock", executions.every()


def may_fault(program: Program, path: Path) -> bool:
    """Whether an execution that takes ``path`` may have no meaning (``verdict.FAULTS``)."""
    checks = (flag for flag, _ in path.checks)
    return any(flag in FAULTS for flag in (*checks, *_bad_addresses(path, program.words)))


def _bad_addresses(path: Path, words: frozenset[int] | None) -> Iterator[str]:
    """Flags of accesses where no access may go; ``words``: where one may."""
    for act in path.acts:
        if act.is_read or act.is_write:
            if act.address == 0:
                yield "null-dereference"
            elif 0 <= act.address - POISON < POISON_REACH:
                yield "poison-address"
            elif words is not None and act.address not in words:
                yield "wild-access"
