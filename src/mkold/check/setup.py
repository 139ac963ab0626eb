"""What a scenario's setup function works with: memory, kernel Python run alone, threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from mkold.base.errors import Pos
from mkold.check import door
from mkold.check.blame import here
from mkold.check.end import End
from mkold.check.properties import PROPERTIES, WARNINGS
from mkold.ir.boot import LINE_WORDS
from mkold.ir.definition import Definition, word_of
from mkold.ir.edit import bind
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.layout import Field, LaidOut, Layout
from mkold.ir.module import collect
from mkold.ir.nodes import POISON_INUSE
from mkold.ir.program import Extent

# The setup's own objects lie above the boot area and apart from each other.
HEAP_START = 0x10000
OBJECT_GAP = 8
MAX_WORDS = 1 << 20
# The elements of a longer array go without names.
NAMED_ELEMENTS = 8

# A function and its words.
ThreadCall = tuple[Definition, *tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Never:
    """A final state that must not be: ``name`` it, ``test`` it, say it in a ``sentence``.

    ``at`` is where it is stated.
    """

    name: str
    test: Callable[[End], bool]
    sentence: str
    at: Pos | None


@dataclass(frozen=True, slots=True)
class ThreadCalls:
    """What one thread does: calls in order, each a function and its constant words."""

    name: str
    calls: tuple[tuple[Definition, tuple[int, ...]], ...]


class Setup:
    """Builds a small machine; see ``mkold.check.scenario``.

    Every method raises ``InputError`` at the caller's line for what makes no sense.

    Attributes
    ----------
    memory : word address -> word
    names : addresses by name, for pictures
    watched : addresses of the words seen in final states, by name
    threads, nevers : what was stated
    hooks : what hooks stand for, by name
    parameters : names of the build parameters that a scenario may set
    pointed : functions whose words may lie in memory, by word
    """

    def __init__(self, params: Mapping[str, int]) -> None:
        self.memory: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.watched: dict[str, int] = {}
        self.threads: list[ThreadCalls] = []
        self.nevers: list[Never] = []
        self.hooks: dict[str, Definition] = {}
        self.parameters: set[str] = set()
        self.pointed: dict[int, Definition] = {}
        self._params = params
        self._next = HEAP_START
        self._objects: list[Extent] = []
        self._layouts: list[tuple[Extent, Layout]] = []

    def bind(self, hooks: Mapping[str, Definition]) -> None:
        """Say what hooks stand for, by name: here and in the threads (an architecture's)."""
        self.hooks.update(door.mapping("hooks", hooks, door.definition))

    def declare(self, parameters: Collection[str]) -> None:
        """Build parameters that may be set though nothing in the scenario uses them."""
        self.parameters |= door.names("parameters", parameters, any_kind=True)

    def new(self, struct: LaidOut, name: str = "", *, count: int = 1) -> int:
        """A zeroed object (or ``count`` in a row); returns its word address."""
        layout = door.struct(struct)
        door.text("an object's name", name)
        address = self.words(layout.n_words * door.word("count", count, 1, MAX_WORDS))
        self._objects[-1] = replace(self._objects[-1], unit=layout.n_words, name=name)
        self._layouts.append((self._objects[-1], layout))
        if name:
            for path, offset in layout.words(NAMED_ELEMENTS):
                self.names[f"{name}.{path}"] = address + offset
        return address

    def words(self, n: int, name: str = "", *, value: int = 0, align: int = 1) -> int:
        """``n`` words holding ``value``; returns the address of the first."""
        n = door.word("the number of words", n)
        value, align = door.word("value", value), door.word("align", align, 1, MAX_WORDS)
        if self._next + n + max(align, LINE_WORDS) > HEAP_START + MAX_WORDS:
            raise door.wrong(f"{n} words more are too many: a scenario has at most {MAX_WORDS}")
        # On a line of its own, so that low bits of its address are free for marks.
        self._next += -self._next % (align if align > 1 else LINE_WORDS)
        address, self._next = self._next, self._next + n + OBJECT_GAP
        self.memory.update(dict.fromkeys(range(address, address + n), value))
        self._objects.append(Extent(address, n, name))
        if door.text("a name", name):
            self.names[name] = address
        return address

    def raw(self, n: int, *, align: int = 1) -> int:
        """``n`` words that were given out and never written: they hold POISON_INUSE."""
        return self.words(n, value=POISON_INUSE, align=align)

    def call(self, function: Definition, *args: int, cpu: int = 0) -> int:
        """Run kernel Python now, alone; returns its first result (0 if it has none)."""
        called, words = door.call("a call", (function, *args))
        module = collect([called], hooks=self.hooks, pointed=self.pointed.values())
        self.parameters.update(module.parameters)
        self.pointed.update(module.pointed)
        functions = bind(module.functions, {**module.parameters, **self._params})
        run = Interpreter(functions, self.memory, cpu=door.word("cpu", cpu))
        try:
            results = run.call(module.name_of(called), *words)
        except InterpretError as error:
            where = f" at {error.at}" if error.at else ""
            raise door.wrong(f"{called.name} stops: {error.reason}{where}") from error
        return results[0] if results else 0

    def objects(self) -> tuple[Extent, ...]:
        """All the memory there is, in order: objects, and words that were written alone."""
        found = sorted(self._objects, key=lambda extent: extent.start)
        inside = {a for extent in found for a in range(extent.start, extent.end)}
        alone = [Extent(a, 1) for a in self.memory if a not in inside]
        return tuple(sorted((*found, *alone), key=lambda extent: extent.start))

    def peek(self, address: int) -> int:
        """A word of memory as it is now."""
        return self.memory.get(door.word("an address", address), 0)

    def poke(self, address: int, value: int) -> None:
        """Set a word of memory to what a field of its type can hold."""
        address, value = door.word("an address", address), door.word("a word", value)
        for extent, layout in self._layouts:
            if extent.start <= address < extent.end:
                field = layout.at((address - extent.start) % layout.n_words)
                value = door.fitting(value, self._called(address, field), field)
        self.memory[address] = value

    def _called(self, address: int, field: Field) -> str:
        known = {there: name for name, there in self.names.items()}
        return f"{known.get(address, field.name)} ({field.type})"

    def pointer(self, function: Definition) -> int:
        """The word that stands for a function, as a pointer to it holds it."""
        word = word_of(door.definition("a function", function))
        self.pointed[word] = function
        return word

    def name(self, text: str, address: int) -> None:
        """A name for a word, for pictures."""
        self.names[door.text("a name", text)] = door.word("an address", address)

    def watch(self, name: str, address: int) -> None:
        """Show this word in final states, under ``name``."""
        if self.watched.get(door.text("a name", name, empty=False), address) != address:
            raise door.wrong(f"two words are watched under the name {name}")
        self.name(name, address)
        self.watched[name] = address

    def thread(self, name: str, *calls: ThreadCall) -> None:
        """A thread that makes these calls, ``(function, word, ...)`` each, in order."""
        if door.text("a thread's name", name, empty=False) in [t.name for t in self.threads]:
            raise door.wrong(f"two threads have the name {name}")
        if not calls:
            raise door.wrong(f"thread {name} makes no call", hint="m.thread(name, (f, word))")
        made = tuple(door.call(f"call {i} of thread {name}", c) for i, c in enumerate(calls))
        self.threads.append(ThreadCalls(name, made))

    def never(self, name: str, test: Callable[[End], bool], sentence: str) -> None:
        """State a final state that must not be."""
        if door.text("a property's name", name, empty=False) in {*PROPERTIES, *WARNINGS}:
            raise door.wrong(f"{name} is looked at anyway: take another name")
        if name in [never.name for never in self.nevers]:
            raise door.wrong(f"two properties have the name {name}")
        test = door.function(f"the test of {name}", test)
        sentence = door.text(f"the sentence of {name}", sentence)
        self.nevers.append(Never(name, test, sentence, here()))
