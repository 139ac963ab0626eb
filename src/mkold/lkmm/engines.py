"""The engines, by name: what decides a program.

An engine is a module with a function ``decide`` as ``Engine`` says, and a line here. It is
imported when it is asked for; where none is named, ``suited`` chooses. Around it,
``lkmm.decide`` keeps the time and puts its name and the time on the verdict. What engines
share, and is not any engine's own:

* from a program to its events, and to what reads may find (``unroll``, ``known``);
* each thread's paths, and which can go together (``paths``);
* the flags that mkold raises whatever the engine (``paths.flags``);
* what the allowed executions add up to (``tally``).
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Protocol, cast

from mkold.base.errors import UsageError
from mkold.ir.program import Program
from mkold.lkmm.ask import Ask
from mkold.lkmm.verdict import Verdict
from mkold.lkmm.waits import seen

ENGINES = {
    "masks": "mkold.lkmm.masks.engine",
    "literal": "mkold.lkmm.literal.engine",
    "sat": "mkold.lkmm.sat.engine",
}
USUAL = ("masks", "sat")  # what ``suited`` chooses from
SMALL = 100  # operations: of more, there may be too many executions to list


class Engine(Protocol):
    """Decides ``program`` as far as ``ask`` wants it.

    ``check`` is to be called now and then; it raises ``TimeoutError`` when time is up, which
    an engine lets pass.

    Raises
    ------
    LimitError : the program is too large for this engine
    UnsupportedError : a construct the engine can't express
    TimeoutError : time is up
    """

    def __call__(self, program: Program, ask: Ask, check: Callable[[], None]) -> Verdict: ...


def suited(program: Program, ask: Ask) -> str:
    """The engine for ``program``: ``masks`` for what is small and does not wait."""
    text = seen(program)
    if text.loops or text.n_operations > SMALL:
        return "sat"
    return "sat" if ask.hangs and text.may_wait else "masks"


def named(name: str) -> Engine:
    """The engine of that name.

    Raises
    ------
    UsageError : there is none
    """
    module = ENGINES.get(name)
    if module is None:
        known = ", ".join(ENGINES)
        near = get_close_matches(name, ENGINES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {known}"
        raise UsageError(f"no engine named {name}; {hint}")
    return cast(Engine, import_module(module).decide)
