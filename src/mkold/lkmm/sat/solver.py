"""CaDiCaL behind a few methods: literals, clauses, models, and a clock that is kept.

A literal is a DIMACS number; ``TRUE`` is variable 1, fixed. The solver works in slices of
conflicts, and ``check`` is called between them, and now and then while a formula is made: it
raises when time is up.

Known limits: one slice may take some tenths of a second on a large formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count

from pysat.solvers import Solver as Backend

Lit = int
TRUE: Lit = 1
FALSE: Lit = -1
SLICE = 2_000  # conflicts between two looks at the clock
LOOK = 4_096  # variables, and clauses, between two looks, while a formula is made


class Model:
    """One assignment to the ``n_vars`` variables that there were; it knows of no later ones."""

    __slots__ = ("_n_vars", "_values")

    def __init__(self, values: Sequence[int], n_vars: int) -> None:
        self._values, self._n_vars = values, n_vars

    def holds(self, lit: Lit) -> bool:
        """Whether ``lit`` is true."""
        var = abs(lit)
        if var > self._n_vars:
            raise AssertionError("a model is asked for what was not in the formula")
        true = var <= len(self._values) and self._values[var - 1] > 0
        return true == (lit > 0)

    def word(self, bits: Iterable[Lit]) -> int:
        """The word whose bits, lowest first, are these literals."""
        return sum(1 << i for i, bit in enumerate(bits) if self.holds(bit))


class Solver:
    """A growing set of clauses.

    Parameters
    ----------
    check : called between slices of work; raises when time is up
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self._backend = Backend(name="cadical195")
        self.n_vars = self.n_clauses = self.n_solves = 0
        self._add = self._backend.add_clause
        self.add([self.new()])

    def look(self) -> None:
        """At the clock, from what takes long and makes no clauses."""
        self._check()

    def new(self) -> Lit:
        """A fresh variable."""
        self.n_vars += 1
        if self.n_vars % LOOK == 0:
            self._check()
        return self.n_vars

    def add(self, clause: list[Lit]) -> None:
        """At least one of ``clause`` holds."""
        self.n_clauses += 1
        if self.n_clauses % LOOK == 0:
            self._check()
        self._add(clause)

    def solve(
        self, assumptions: Iterable[Lit] = (), *, slices: int | None = None
    ) -> Model | None:
        """An assignment in which the assumptions hold too, or None.

        Parameters
        ----------
        slices : how many of work to put into it; None then says that none was found

        Raises
        ------
        whatever ``check`` raises
        """
        assumed = list(assumptions)
        self.n_solves += 1
        backend = self._backend
        for n in count(1):
            self._check()
            backend.conf_budget(SLICE)
            found = backend.solve_limited(assumptions=assumed)
            if found is not None or n == slices:
                return Model(backend.get_model(), self.n_vars) if found else None
        return None

    def close(self) -> None:
        """Give the memory back."""
        self._backend.delete()
