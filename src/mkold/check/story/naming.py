"""How a story names what words hold, and lines of source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from mkold.base.errors import Pos
from mkold.ir.program import POISONS
from mkold.lkmm.naming import Naming
from mkold.lkmm.verdict import Event

_DECIMAL_BELOW = 100


class Wording(Naming):
    """Names for addresses, words for values; the values of one word in one notation."""

    def __init__(self, symbols: Mapping[str, int], events: Iterable[Event] = ()) -> None:
        super().__init__(symbols)
        self._hex = {
            event.address
            for event in events
            if event.value is not None
            and event.value >= _DECIMAL_BELOW
            and event.value not in POISONS
        }

    def value(self, event: Event) -> str:
        """What an event reads or writes: POISON, the address of something, or a number."""
        word = event.value
        if word is None or word in POISONS:
            return self.word(word)
        if self.exact(word):
            return f"&{self._object(word)}"
        return hex(word) if word and event.address in self._hex else str(word)

    def _object(self, address: int) -> str:
        """What begins at a named word: ``kvm`` rather than its first field."""
        name, before = self.exact(address), self.exact(address - 1)
        while "." in name and not before.startswith(f"{name.rpartition('.')[0]}."):
            name = name.rpartition(".")[0]
        return name


def at(pos: Pos | None) -> str:
    """``powerpc/age.py:189``: short, and enough to find the line."""
    if pos is None:
        return ""
    path = PurePath(pos.file)
    parts = path.parts[-2:] if "mkold" in path.parts else path.parts[-1:]
    return f"{'/'.join(parts)}:{pos.line}"
