"""The flags that mkold raises itself, whatever the engine: see ``verdict.OWN_FLAGS``.

They are asked of the allowed executions of one choice of paths, all of them at once or
one at a time: an engine says what it holds them in (``Executions``).

* ``bug-on``, ``warn-on`` ...: a check in the program fires;
* ``null-dereference``, ``poison-address``, ``wild-access``: an access at word 0, at an
  address made from poison, or where the program has no word;
* ``use-before-init``, ``use-after-free``: a read finds poison, which was there from the
  beginning or was put there;
* ``write-after-free``, ``double-free``, ``invalid-free``, ``out-of-bounds``,
  ``wild-address``: see ``safety``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from mkold.ir.nodes import POISON_INUSE
from mkold.ir.program import POISON, Program
from mkold.lkmm.graph.values import Constraint
from mkold.lkmm.known.objects import Objects
from mkold.lkmm.paths.paths import Path
from mkold.lkmm.paths.safety import astray, overwriting
from mkold.lkmm.verdict import FAULTS

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

    def overwriting(self, write: int, source: int) -> S:
        """Those in which ``write`` comes right after ``source`` in coherence."""


def own_flags(
    program: Program, paths: Sequence[Path], executions: Executions[S]
) -> Iterator[tuple[str, S]]:
    """Flags, each with the executions that raise it; one may come more than once."""
    for path in paths:
        for flag, cond in path.checks:
            yield flag, executions.where(Constraint(cond, None))
        for flag in _bad_addresses(program, path):
            yield flag, executions.every()
    for wrong in overwriting(program, paths):
        yield wrong.flag, executions.overwriting(wrong.write, wrong.source)
    for initial, stored in executions.finding(POISON):
        yield "use-before-init", initial
        yield "use-after-free", stored
    for initial, stored in executions.finding(POISON_INUSE):
        yield "use-before-init", initial
        yield "use-before-init", stored


def may_fault(program: Program, path: Path) -> bool:
    """Whether an execution that takes ``path`` may have no meaning (``verdict.FAULTS``)."""
    checks = (flag for flag, _ in path.checks)
    return any(flag in FAULTS for flag in (*checks, *_bad_addresses(program, path)))


def _bad_addresses(program: Program, path: Path) -> Iterator[str]:
    """Flags of accesses where no access may go."""
    if program.objects is not None:
        yield from astray(program, path)
        return
    objects = Objects(program)
    for act in path.acts:
        if act.is_read or act.is_write:
            flag = objects.stray(act.address)
            if flag:
                yield flag
