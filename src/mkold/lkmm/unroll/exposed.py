"""Which locals a loop takes over from the round before, found once a loop."""

from __future__ import annotations

from mkold.ir.flow import taken_over
from mkold.ir.nodes import Loop

_EXPOSED: dict[int, tuple[Loop, frozenset[str]]] = {}


def exposed(loop: Loop) -> frozenset[str]:
    """Locals that a round of ``loop`` may read before it assigns them."""
    known = _EXPOSED.get(id(loop))
    if known is None or known[0] is not loop:
        known = loop, taken_over(loop)
        _EXPOSED[id(loop)] = known
    return known[1]
