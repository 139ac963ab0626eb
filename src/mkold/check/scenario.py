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

Properties that hold for any code (``mkold.check.properties``) are always checked unless
``Scenario.ignore`` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mkold.base.errors import Pos
from mkold.check import door
from mkold.check.blame import here
from mkold.check.setup import Setup
from mkold.ir.definition import Definition


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named setup.

    Parameters
    ----------
    name : short, unique, lower case with dashes
    setup : builds the machine and states threads and properties
    params : build parameters (a small table geometry, say)
    ignore : properties not looked at, by name
    sentence : what the scenario shows, for people
    stand_ins : functions put in the place of others, by the others' names: what lies
        outside the scenario (the host's memory, say), kept small
    partial : a stand-in leaves executions out (by waiting for ever, say), so the verdict is
        about the rest, and the scenario can't be run natively
    at : where it is written; found by itself

    Raises
    ------
    InputError : an argument of the wrong kind, at the caller's line
    """

    name: str
    setup: Callable[[Setup], None]
    params: Mapping[str, int] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    sentence: str = ""
    stand_ins: Mapping[str, Definition] = field(default_factory=dict)
    partial: bool = False
    at: Pos | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        door.text("a scenario's name", self.name, empty=False)
        said = f"of scenario {self.name}"
        door.function(f"the setup {said}", self.setup)
        checked = {
            "params": door.mapping(f"params {said}", self.params, door.word),
            "ignore": door.names(f"ignore {said}", self.ignore),
            "sentence": door.text(f"the sentence {said}", self.sentence),
            "stand_ins": door.mapping(f"stand_ins {said}", self.stand_ins, door.definition),
            "partial": door.truth(f"partial {said}", self.partial),
            "at": self.at or here(),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
