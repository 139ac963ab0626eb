"""Decides claims about kernel Python under the Linux-kernel memory model.

``door``        what a caller hands over is looked at as it comes in
``scenario``    a small machine, the threads on it, and what must hold at the end
``program``     a scenario and a variant become one ``ir.program.Program``
``decide``      one case: which properties break, with the execution that shows it
``claim``       a sentence somebody said, its source, and the cases that decide it
``needed``      weaken each ordering primitive in turn: needed, weaker would do, or not
``torture``     the same scenario natively: outcomes must be a subset of the model's
``replay``      a counterexample as a file, and back
``load``        claims from a user's Python file
``claims``      the claims that ship

Nothing here says which verdict is expected; expectations live in the tests.

Example
-------
See docs/check.md and docs/examples/claims.py.
"""

from mkold.check.claim import Case, Claim
from mkold.check.end import End
from mkold.check.scenario import Scenario
from mkold.check.setup import Setup
from mkold.ir.variant import Before, Drop, Exchange, Force, Set, Skip, Split, Swap

__all__ = [
    "Before", "Case", "Claim", "Drop", "End", "Exchange", "Force", "Scenario", "Set",
    "Setup", "Skip", "Split", "Swap",
]  # fmt: skip
