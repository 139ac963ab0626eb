"""The Linux-kernel memory model: decides which outcomes of a program it allows.

Imports only ``mkold.base`` and ``mkold.ir``; knows nothing of C, of kernel Python or of
KVM.
"""

from mkold.lkmm.decide import decide
from mkold.lkmm.verdict import (
    OWN_FLAGS,
    Axiom,
    Cycle,
    Edge,
    Event,
    Execution,
    Observation,
    Status,
    Verdict,
)

__all__ = [
    "OWN_FLAGS",
    "Axiom",
    "Cycle",
    "Edge",
    "Event",
    "Execution",
    "Observation",
    "Status",
    "Verdict",
    "decide",
]
