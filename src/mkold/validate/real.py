"""A VM on a real kernel: a step is a command or a few to the agent (``topics``)."""

from __future__ import annotations

from collections.abc import Sequence

from mkold.base.errors import MkoldError
from mkold.validate.console import Line
from mkold.validate.pages import pages_text, read_hex_bitmap
from mkold.validate.vm import Vm

LIE = "age 8 0 0 1"


class Real:
    """A VM on the machine at the other end of ``line``."""

    def __init__(self, line: Line, vm: Vm) -> None:
        self._line, self.vm = line, vm
        slots = f":{pages_text(vm.slots)}" if vm.slots else ""
        self.ask(f"vm {vm.n_pages} {'huge' if vm.huge else 'small'}{slots}")

    def ask(self, command: str) -> list[str]:
        """One command to the agent; the lines of its answer."""
        return self._line.ask(command)

    def bitmaps(self, command: str, names: Sequence[str]) -> dict[str, int]:
        """A command that answers with a bitmap for each of ``names``."""
        words = self.ask(command)[:-1]
        return {name: bits_of(word) for name, word in zip(names, words, strict=True)}

    def lie(self) -> None:
        """Let the module's next answer be wrong about its first page."""
        self.ask(LIE)


def bits_of(line: str) -> int:
    """The bitmap of an answer's line."""
    if not line.startswith("bits "):
        raise MkoldError(f"the agent answers with {line[:80]!r} where a bitmap is due")
    return read_hex_bitmap(line.removeprefix("bits ").strip())
