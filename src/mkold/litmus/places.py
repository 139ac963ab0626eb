"""Places that a condition speaks of: ``0:r1``, ``x``, ``[x]``, ``*x``, ``a[1]``, ``a``.

Whatever is named must be in the test: a register in its thread, a variable in the initial
state or among the parameters, an element inside its array. What is only listed under
``locations`` is shown in any case, as herd does: a register that is nowhere is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkold.ir.program import Mem, Observed, Reg, Words
from mkold.litmus.globals import Globals
from mkold.litmus.initial import is_name, read_index, thread_number
from mkold.litmus.macros import BUILTIN_NAMES, MACROS
from mkold.litmus.source import Tokens, shown
from mkold.litmus.types import TYPE_WORDS, Type

Place = Observed | Words


@dataclass(frozen=True, slots=True)
class ThreadNames:
    """What a thread's text names: its parameters, with the types of their objects, and all
    from ``start`` to ``end`` in ``texts``."""

    parameters: Mapping[str, Type]
    texts: Sequence[str]
    start: int
    end: int
    begin: int  # of the head

    def __contains__(self, name: str) -> bool:
        if name in self.parameters:
            return True
        if name in WORDS or name in MACROS or name in BUILTIN_NAMES:
            return False
        texts, at = self.texts, self.start
        while True:
            try:
                at = texts.index(name, at, self.end)
            except ValueError:
                return False
            label = texts[at - 1] == "goto" or (
                texts[at + 1] == ":" and texts[at - 1] in _BEFORE_LABELS
            )
            if not label:
                return True
            at += 1


class Places:
    """Reads places from the tokens of the final part."""

    __slots__ = ("known", "threads", "tokens")

    def __init__(self, tokens: Tokens, known: Globals, threads: Sequence[ThreadNames]) -> None:
        self.tokens, self.known, self.threads = tokens, known, threads

    def starts_place(self) -> bool:
        """Whether what follows is a place rather than a value: ``[x]``, ``*x``, ``1:r2``."""
        texts, at = self.tokens.texts, self.tokens.at
        return texts[at] in ("[", "*") or texts[at + 1 : at + 2] == [":"]

    def read(self, *, listed: bool = False) -> Place:
        """A place; ``listed``: only to be shown."""
        tokens = self.tokens
        texts = tokens.texts
        if texts[tokens.at] == "*":
            tokens.at += 1
        token = texts[tokens.at]
        thread = thread_number(token)
        if thread is not None and texts[tokens.at + 1 : tokens.at + 2] == [":"]:
            return self._register(thread, listed=listed)
        return self._variable()

    def _register(self, thread: int, *, listed: bool) -> Reg:
        tokens = self.tokens
        if thread >= len(self.threads):
            tokens.fail(f"there is no thread P{thread}", hint=self._threads_there())
        at = tokens.at + 2
        register = tokens.texts[at] if at < len(tokens.texts) else ""
        if not is_name(register):
            tokens.fail("expected a register", index=at)
        there = register in self.threads[thread] or (thread, register) in self.known.registers
        if not there and not listed:
            hint = self._elsewhere(register)
            tokens.fail(f"'{register}' is nowhere in P{thread}", index=at, hint=hint)
        tokens.at += 3
        return Reg(thread, register)

    def _variable(self) -> Mem | Words:
        tokens = self.tokens
        bracketed = tokens.texts[tokens.at] == "["
        if bracketed:
            tokens.at += 1
        at, name = tokens.at, tokens.texts[tokens.at]
        if not is_name(name) or name in _WORDS:
            tokens.fail(f"expected a register or a variable, found {shown(name)}")
        self.check_name(name, at)
        tokens.at += 1
        address = self.known.addresses[name]
        place: Mem | Words = Mem(address)
        if tokens.texts[tokens.at] == "[":
            place = Mem(address + read_index(tokens, self.known, name))
        elif name in self.known.arrays:
            place = Words(address, self.known.arrays[name])
        if bracketed:
            tokens.expect("]", "after a variable")
        return place

    def check_name(self, name: str, at: int) -> None:
        """Fail if ``name``, token number ``at``, is no variable of the test."""
        if name in self.known.addresses:
            return
        owners = [number for number, thread in enumerate(self.threads) if name in thread]
        if owners:
            self.tokens.fail(
                f"'{name}' is a register, and its thread is missing",
                index=at, hint=f"write '{owners[0]}:{name}'",
            )  # fmt: skip
        self.tokens.fail(
            f"'{name}' is nowhere in this test", index=at,
            hint="a variable stands in the initial state or is a thread's parameter",
        )  # fmt: skip

    def _threads_there(self) -> str:
        last = len(self.threads) - 1
        return f"the threads are P0 to P{last}" if last else "the only thread is P0"

    def _elsewhere(self, register: str) -> str:
        for number, thread in enumerate(self.threads):
            if register in thread:
                return f"P{number} has it: '{number}:{register}'"
        return ""


_WORDS = frozenset({"exists", "forall", "locations", "filter", "not"})
WORDS = TYPE_WORDS | {
    "if", "else", "while", "do", "for", "switch", "case", "default", "goto", "break",
    "continue", "return", "NULL", "true", "false", "sizeof",
}  # fmt: skip
_BEFORE_LABELS = frozenset({"{", "}", ";", ":", ")", "else", "do"})
