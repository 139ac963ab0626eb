"""A program: functions run concurrently on an initial memory, and a question about it.

This is all that the memory-model engine sees. A C litmus test becomes one; a scenario
over kernel Python becomes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mkold.ir.nodes import POISON_FREE, POISON_INUSE, Function

POISON = POISON_FREE
POISONS = frozenset({POISON, POISON_INUSE})

# In a final state: a value out of thin air, justified by nothing but itself. No word is it.
UNKNOWN = 1 << 64


@dataclass(frozen=True, slots=True)
class Thread:
    """``function`` run with constant ``args`` as CPU number its index in the program."""

    name: str
    function: str
    args: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reg:
    """The final value of ``local`` in the entry function of thread number ``thread``.

    A local that was never assigned on the path taken has the value 0.
    """

    thread: int
    local: str


@dataclass(frozen=True, slots=True)
class Mem:
    """The final value of the word at ``address``."""

    address: int


Observed = Reg | Mem


@dataclass(frozen=True, slots=True)
class Words:
    """``n`` words from ``address`` on, shown as one array: ``{1, 2}``."""

    address: int
    n: int

    def each(self) -> Iterator[Mem]:
        """The words one by one."""
        return (Mem(self.address + i) for i in range(self.n))


@dataclass(frozen=True, slots=True)
class Compare:
    """``left op right``, op one of ``eq ne slt sle``; a side is observed or a word."""

    op: str
    left: Observed | int
    right: Observed | int


@dataclass(frozen=True, slots=True)
class Not:
    a: Formula


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Formula, ...]  # empty: true


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Formula, ...]  # empty: false


Formula = Compare | Not | And | Or
TRUE = And(())


@dataclass(frozen=True, slots=True)
class Condition:
    """``quantifier`` is ``exists``, ``~exists`` or ``forall``."""

    quantifier: str
    formula: Formula


@dataclass(frozen=True, slots=True)
class Extent:
    """``n_words`` words from ``start`` on; ``unit``: words of each object in it (1: what
    they are used for is not known)."""

    start: int
    n_words: int
    name: str = ""
    unit: int = 1

    @property
    def end(self) -> int:
        """The first word behind it."""
        return self.start + self.n_words


@dataclass(frozen=True, slots=True)
class Program:
    """What the engine decides.

    Parameters
    ----------
    functions : every function that can be reached, by name
    threads : run concurrently; the index is the CPU number
    init : initial words by address; an address not named holds ``default``
    symbols : names for addresses, as ``{"x": 4096}``; values equal to one print as it
    condition : the question; ``None`` asks only for flags and states
    observed : what a final state shows, in the order to print it
    filter : executions that do not satisfy it are ignored
    default : initial value of unnamed words
    words : every word of a litmus test, where an access elsewhere is a fault
    shown : what a line of states shows, where that is not ``observed`` one by one; its
        words are all in ``observed``
    objects : all the memory there is, by address; ``None``: it is not known, as in a litmus
        test. Where it is, a plain store of 0 to a lock sets it up and is no use of it
    """

    name: str
    functions: Mapping[str, Function]
    threads: tuple[Thread, ...]
    init: Mapping[int, int] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    condition: Condition | None = None
    observed: tuple[Observed, ...] = ()
    filter: Formula | None = None
    default: int = 0
    words: frozenset[int] | None = None
    shown: tuple[Observed | Words, ...] = ()
    objects: tuple[Extent, ...] | None = None
