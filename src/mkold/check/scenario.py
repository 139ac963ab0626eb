"""A scenario: a small machine built by running kernel Python, and threads on it.

A scenario is a function that is handed a ``Setup``. It allocates objects, runs kernel
Python on one CPU to bring the machine into the wanted state, names the words worth
seeing, and states the threads and the properties::

    def two_pages(m: Setup) -> None:
        kvm = m.new(Kvm, "kvm")
        m.call(kvm_create_vm, kvm, ...)
        m.watch("pte0", m.call(find_pte, kvm, 0))
        m.thread("walker", (kvm_arch_test_clear_young, kvm, 0, 2))
        m.thread("switch", (kvmppc_switch_mmu_to_hpt, kvm))
        m.never("dirty-lost", lambda end: not end["pte0"] & _PAGE_DIRTY, "...")

Properties that hold for any code (use after free, use before initialisation, data race,
BUG_ON, WARN_ON, deadlock) are always checked unless ``Scenario.ignore`` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mkold.ir.edit import bind
from mkold.ir.interpret import Interpreter
from mkold.ir.layout import LaidOut
from mkold.ir.module import Definition, collect
from mkold.ir.program import POISON

# The setup's own objects lie above the boot area and apart from each other.
HEAP_START = 0x10000
OBJECT_GAP = 8
# The elements of a longer array go without names.
NAMED_ELEMENTS = 8


class End:
    """A final state: watched words by name, results by thread.

    ``end["pte0"]`` is the final word watched under that name; ``end.result("walker")``
    the first result of that thread's last call (``end.result("walker", i, k)``: result
    ``k`` of its call ``i``). ``seen`` are the names of words that were asked for,
    ``heard`` those of threads.
    """

    def __init__(self, words: Mapping[str, int], results: Mapping[tuple[str, int, int], int]):
        self._words, self._results = words, results
        self.seen: set[str] = set()
        self.heard: set[str] = set()

    def __getitem__(self, name: str) -> int:
        self.seen.add(name)
        return self._words[name]

    def result(self, thread: str, call: int = -1, index: int = 0) -> int:
        """One result word of one call of a thread, calls in program order."""
        self.heard.add(thread)
        if call < 0:
            call += 1 + max(i for name, i, _ in self._results if name == thread)
        return self._results[thread, call, index]


@dataclass(frozen=True, slots=True)
class Never:
    """A final state that must not be: ``name`` it, ``test`` it, say it in a ``sentence``."""

    name: str
    test: Callable[[End], bool]
    sentence: str


# A function and its words.
ThreadCall = tuple[Definition, *tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ThreadCalls:
    """What one thread does: calls in order, each a function and its constant words."""

    name: str
    calls: tuple[tuple[Definition, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named setup.

    Parameters
    ----------
    name : short, unique, lower case with dashes
    setup : builds the machine and states threads and properties
    params : build parameters (a small table geometry, say)
    ignore : built-in properties not looked at, by name
    sentence : what the scenario shows, for people
    stand_ins : functions put in the place of others, by the others' names: what lies
        outside the scenario (the host's memory, say), kept small
    partial : a stand-in leaves executions out (by waiting for ever, say), so the verdict is
        about the rest, and the scenario can't be run natively
    """

    name: str
    setup: Callable[[Setup], None]
    params: Mapping[str, int] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    sentence: str = ""
    stand_ins: Mapping[str, Definition] = field(default_factory=dict)
    partial: bool = False


class Setup:
    """What a scenario's setup function works with; see the module's text."""

    def __init__(self, params: Mapping[str, int]) -> None:
        self.memory: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.watched: dict[str, int] = {}
        self.threads: list[ThreadCalls] = []
        self.nevers: list[Never] = []
        self._params = params
        self._next = HEAP_START

    def new(self, struct: LaidOut, name: str = "", *, count: int = 1) -> int:
        """A zeroed object (or ``count`` in a row); returns its word address."""
        layout = struct.layout
        address = self.words(layout.n_words * count)
        if name:
            for text, offset in layout.words(NAMED_ELEMENTS):
                self.names[f"{name}.{text}"] = address + offset
        return address

    def words(self, n: int, name: str = "", *, value: int = 0, align: int = 1) -> int:
        """``n`` words holding ``value``; returns the address of the first."""
        self._next += -self._next % align
        address, self._next = self._next, self._next + n + OBJECT_GAP
        for i in range(n):
            self.memory[address + i] = value
        if name:
            self.names[name] = address
        return address

    def raw(self, n: int, *, align: int = 1) -> int:
        """``n`` words never initialised: they hold POISON."""
        return self.words(n, value=POISON, align=align)

    def call(self, function: Definition, *args: int, cpu: int = 0) -> int:
        """Run kernel Python now, alone; returns its first result (0 if it has none)."""
        module = collect([function])
        functions = bind(module.functions, {**module.parameters, **self._params})
        run = Interpreter(functions, self.memory, cpu=cpu)
        results = run.call(module.name_of(function), *args)
        return results[0] if results else 0

    def peek(self, address: int) -> int:
        """A word of memory as it is now."""
        return self.memory.get(address, 0)

    def poke(self, address: int, value: int) -> None:
        """Set a word of memory."""
        self.memory[address] = value

    def name(self, text: str, address: int) -> None:
        """A name for a word, for pictures."""
        self.names[text] = address

    def watch(self, name: str, address: int) -> None:
        """Show this word in final states, under ``name``."""
        self.watched[name] = address
        self.names[name] = address

    def thread(self, name: str, *calls: ThreadCall) -> None:
        """A thread that makes these calls, ``(function, word, ...)`` each, in order."""
        made = tuple((function, tuple(args)) for function, *args in calls)
        self.threads.append(ThreadCalls(name, made))

    def never(self, name: str, test: Callable[[End], bool], sentence: str) -> None:
        """State a final state that must not be."""
        self.nevers.append(Never(name, test, sentence))
