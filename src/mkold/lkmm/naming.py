"""How a reader is told of events: places by their names, words, letters.

A word of memory goes by its own name, by the nearest name before it (``kvm + 3``), by what
the first words of every memory are for, or by its address.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from mkold.ir import boot
from mkold.ir.program import POISON, POISONS
from mkold.lkmm.verdict import LOCK_KINDS, Event

_NEAR = 64  # words behind a name that still go by it
_ENGINES_OWN = 1 << 62  # words that the engine added, to hand over callbacks
_DECIMAL_BELOW = 1 << 16
_BOOT = {
    boot.RCU_GP: "rcu_gp",
    boot.RCU_GP_LOCK: "rcu_gp.lock",
    **{boot.RCU_CPU + i * boot.LINE_WORDS: f"rcu_cpu[{i}]" for i in range(boot.MAX_CPUS)},
}


def is_poisoned(address: int) -> bool:
    """Whether it was reckoned from POISON: no address, though it was taken for one."""
    return any(0 <= address - word < _NEAR for word in POISONS)


class Naming:
    """Names for the words of one program's memory.

    Parameters
    ----------
    symbols : addresses by name, as ``Program.symbols``
    """

    def __init__(self, symbols: Mapping[str, int]) -> None:
        self._names = {address: name for name, address in symbols.items()}
        self._known = sorted(self._names)

    def exact(self, address: int) -> str:
        """The name of just this word; empty if it has none."""
        return self._names.get(address, "")

    def place(self, address: int | None) -> str:
        """A word of memory; empty for no word."""
        if address is None:
            return ""
        name = self._names.get(address) or _BOOT.get(address)
        if name:
            return name
        if is_poisoned(address):
            base = max(word for word in POISONS if word <= address)
            offset = address - base
            return f"*({self.word(base)} + {offset})" if offset else f"*{self.word(base)}"
        if address >= _ENGINES_OWN:
            return "callback"
        if boot.STACKS <= address < boot.BOOT_WORDS:
            cpu, offset = divmod(address - boot.STACKS, boot.STACK_WORDS)
            return f"stack[{cpu}] + {offset}"
        index = bisect_right(self._known, address) - 1
        if index >= 0 and address - self._known[index] < _NEAR:
            return f"{self._names[self._known[index]]} + {address - self._known[index]}"
        return hex(address)

    def word(self, value: int | None) -> str:
        """What a word holds: an address's name, POISON, or a signed number."""
        if value is None:
            return "?"
        if value in POISONS:
            return "POISON" if value == POISON else "POISON_INUSE"
        signed = value - (1 << 64) if value >> 63 else value
        short = str(signed) if abs(signed) < _DECIMAL_BELOW else hex(value)
        return self.exact(value) or short


def label(event: Event, place: str, value: str) -> str:
    """``W[once] x = 1``; a fence has no place, a lock no value."""
    head = f"{event.kind}[{event.order}]" if event.order else event.kind
    if event.address is None:
        return head
    return f"{head} {place}" if event.kind in LOCK_KINDS else f"{head} {place} = {value}"


def letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    text = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        text = chr(ord("a") + digit) + text
    return text
