"""Which addresses are of memory that there is, and what an access elsewhere is called.

Where a program says what memory it has (``Program.objects``), every other address is astray;
elsewhere NULL and what is made from poison are, and in a litmus test what is none of its words.
"""

from __future__ import annotations

from bisect import bisect_right

from mkold.ir.boot import BOOT_WORDS, NULL_WORDS
from mkold.ir.program import POISONS, Extent, Program

POISON_REACH = 1 << 16  # words behind a poison that count as an address made from it
_NEAR = 64  # words beside an object that count as reached from it
_HANDED_OVER = 1 << 62  # words of the model's own from here on, for callbacks
_MODELS_OWN = 1 << 20


class Objects:
    """The memory of one program."""

    def __init__(self, program: Program) -> None:
        self._known, self._words = program.objects, program.words
        self._extents = sorted(program.objects or (), key=lambda extent: extent.start)
        self._starts = [extent.start for extent in self._extents]

    def at(self, address: int) -> Extent | None:
        """What lies at ``address``."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._extents[index].end:
            return self._extents[index]
        return None

    def start(self, address: int) -> int | None:
        """Where the object at ``address`` starts, if it is known to be one."""
        extent = self.at(address)
        if extent is None or extent.unit == 1:
            return None
        return address - (address - extent.start) % extent.unit

    def stray(self, address: int) -> str:
        """The flag of an access at ``address``; empty: there is memory."""
        if any(0 <= address - poison < POISON_REACH for poison in POISONS):
            return "poison-address"
        if self._known is None:
            if address == 0:
                return "null-dereference"
            outside = self._words is not None and address not in self._words
            return "wild-access" if outside and address < _HANDED_OVER else ""
        if 0 <= address < NULL_WORDS:
            return "null-dereference"
        if address < BOOT_WORDS or 0 <= address - _HANDED_OVER < _MODELS_OWN:
            return ""
        if self.at(address) is not None:
            return ""
        return "out-of-bounds" if self._is_near(address) else "wild-address"

    def _is_near(self, address: int) -> bool:
        index = bisect_right(self._starts, address)
        behind = self._extents[max(0, index - 1) : index]
        before = self._extents[index : index + 1]
        return any(address - extent.end < _NEAR for extent in behind) or any(
            extent.start - address <= _NEAR for extent in before
        )
