"""Steps on a real kernel: each is a command or a few to the agent."""

from __future__ import annotations

from mkold.base.errors import MkoldError
from mkold.validate.console import Line
from mkold.validate.pages import pages_text, read_hex_bitmap, runs
from mkold.validate.steps import Step

# The module's operations, as mkold_aging.h numbers them.
OPERATIONS = {
    "clear-young": 0,
    "clear-flush-young": 1,
    "test-young": 2,
    "clear-host-young": 4,
}
LIE = 8
SEEN = ("young", "host", "present", "swapped", "listed", "behind-1", "behind-2")


class Real:
    """A VM of ``n_pages`` on the machine at the other end of ``line``; the guest has those of
    ``slots`` (0: all)."""

    def __init__(self, line: Line, n_pages: int, slots: int = 0) -> None:
        self._line = line
        line.ask(f"vm {n_pages} small" + (f":{pages_text(slots)}" if slots else ""))

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""
        match step.name.split("-"):
            case [("guest" | "host") as who, ("read" | "write") as access]:
                self._line.ask(f"{who} {access[0]} {pages_text(step.pages)}")
            case ["dontneed" | "pageout" as advice]:
                self._line.ask(f"advise {advice} {pages_text(step.pages)}")
            case ["aging", "pass"]:
                self._line.ask("pass")
            case _:
                return self._age(OPERATIONS[step.name], step)
        return None

    def _age(self, operation: int, step: Step) -> int:
        """The answers to all questions of the step, each at the bit of its first page."""
        found = 0
        for first, end in runs(step.pages):
            words = self._line.ask(f"age {operation} {first} {end - first} {step.by}")
            found |= _bits(words[0]) << first
        return found

    def look(self) -> dict[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""
        words = self._line.ask("look")[:-1] + self._line.ask("generations")[:-1]
        return {kind: _bits(line) for kind, line in zip(SEEN, words, strict=True)}

    def lie(self) -> None:
        """Let the module's next answer be wrong about its first page."""
        self._line.ask(f"age {LIE} 0 0 1")


def _bits(line: str) -> int:
    if not line.startswith("bits "):
        raise MkoldError(f"the agent answers with {line[:80]!r} where a bitmap is due")
    return read_hex_bitmap(line.removeprefix("bits ").strip())
