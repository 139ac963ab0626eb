"""And, or, exclusive or and multiplexer over literals: folded where constant, each made once.

Two gates with the same inputs are the same variable, so what is plainly equal costs no
clause and no proof.
"""

from __future__ import annotations

from collections.abc import Iterable

from mkold.lkmm.sat.solver import FALSE, TRUE, Lit, Solver


class Gates:
    """Gates over ``solver``."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._known: dict[tuple[Lit, ...], Lit] = {}

    def all(self, lits: Iterable[Lit]) -> Lit:
        """True where each of ``lits`` is."""
        kept = set(lits)
        kept.discard(TRUE)
        if not kept:
            return TRUE
        if FALSE in kept or any(-lit in kept for lit in kept):
            return FALSE
        if len(kept) == 1:
            return kept.pop()
        key = tuple(sorted(kept))
        out = self._known.get(key)
        if out is None:
            out = self._known[key] = self.solver.new()
            for lit in key:
                self.solver.add([-out, lit])
            self.solver.add([out, *(-lit for lit in key)])
        return out

    def any(self, lits: Iterable[Lit]) -> Lit:
        """True where one of ``lits`` is."""
        return -self.all([-lit for lit in lits])

    def both(self, a: Lit, b: Lit) -> Lit:
        """``all`` of two, which is most of all gates."""
        if a in (TRUE, b):
            return b
        if b == TRUE:
            return a
        if a == FALSE or b == FALSE or a == -b:
            return FALSE
        key = (a, b) if a < b else (b, a)
        out = self._known.get(key)
        if out is None:
            out = self._known[key] = self.solver.new()
            self.solver.add([-out, a])
            self.solver.add([-out, b])
            self.solver.add([out, -a, -b])
        return out

    def either(self, a: Lit, b: Lit) -> Lit:
        """``any`` of two."""
        return -self.both(-a, -b)

    def differ(self, a: Lit, b: Lit) -> Lit:
        """True where exactly one of the two is."""
        if a in (TRUE, FALSE):
            return -b if a == TRUE else b
        if b in (TRUE, FALSE):
            return -a if b == TRUE else a
        if a == b:
            return FALSE
        if a == -b:
            return TRUE
        x, y = sorted((abs(a), abs(b)))
        key = (0, x, y)  # no literal is 0: not the key of another kind of gate
        out = self._known.get(key)
        if out is None:
            out = self._known[key] = self.solver.new()
            for clause in ([-out, x, y], [-out, -x, -y], [out, -x, y], [out, x, -y]):
                self.solver.add(clause)
        return out if (a < 0) == (b < 0) else -out

    def choose(self, c: Lit, a: Lit, b: Lit) -> Lit:
        """``a`` where ``c`` holds, else ``b``."""
        if a == b or c == TRUE:
            return a
        if c == FALSE:
            return b
        if a == -b:
            return self.differ(c, b)
        if a in (TRUE, c):
            return self.either(c, b)
        if a == FALSE or a == -c:
            return self.both(-c, b)
        if b == TRUE or b == -c:
            return self.either(-c, a)
        if b in (FALSE, c):
            return self.both(c, a)
        if c < 0:
            c, a, b = -c, b, a
        key = (0, c, a, b)
        out = self._known.get(key)
        if out is None:
            out = self._known[key] = self.solver.new()
            for clause in ([-c, -a, out], [-c, a, -out], [c, -b, out], [c, b, -out]):
                self.solver.add(clause)
        return out
