"""A program on real threads: every outcome must be one that the model allows.

Only kernel Python, and only programs of which the model knows no flag: whatever a data race
or freed memory may do, a machine is free to do something else.
"""

from __future__ import annotations

from campaign.compare import Compared
from campaign.sample import Sample
from mkold.check.torture.run import run_natively
from mkold.ir.nodes import CallRcu, walk
from mkold.lkmm import Verdict

ROUNDS = 300


def compare_natively(made: Sample, sat: Verdict, found: Compared) -> None:
    """Run it, where that makes sense, and look for outcomes that ``sat`` does not have."""
    if made.case is None or made.built is None or sat.flags or sat.status.value != "ok":
        return
    functions = made.program.functions.values()
    if any(isinstance(stmt, CallRcu) for f in functions for stmt in walk(f.body)):
        return
    seen = run_natively(made.case, made.built, ROUNDS)
    found.within("states, native in sat", set(seen.states), set(sat.states))
