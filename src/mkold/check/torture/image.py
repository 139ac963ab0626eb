"""A scenario as machine code: its functions, a loop for each thread, and the memory.

It is the checked build, which stops at a stray address or at freed memory rather than go on
with it; what resets the memory and notes outcomes is trusted, since it copies both.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.check.claim import Case
from mkold.check.program import Built, parameters
from mkold.check.setup import HEAP_START
from mkold.check.torture.code import Torture, torture_begin, torture_end
from mkold.check.torture.marks import Marks, words
from mkold.ir import boot
from mkold.ir.edit import bind
from mkold.ir.link import link
from mkold.ir.module import Module
from mkold.ir.nodes import (
    Assign,
    Binary,
    Break,
    Call,
    Const,
    Function,
    If,
    Local,
    Loop,
    Op,
    Return,
    Stmt,
)
from mkold.ir.variant import apply
from mkold.ir.verify import verify
from mkold.native.image import Image
from mkold.native.memory import Memory

BATCH_ROUNDS = 2_000
# Of the first words, the allocators' and the modules' start afresh; RCU's go on from round to
# round.
AFRESH, AFRESH_END = boot.MEMBLOCK, boot.STACKS


def image_of(case: Case, built: Built) -> tuple[Image, list[str], Marks]:
    """The scenario's functions, edited as the checker's are, and a loop for each thread."""
    marks = Marks(_STANDS)

    def edited(module: Module) -> Mapping[str, Function]:
        functions = apply(module.functions, parameters(case.scenario, module), case.edits)
        return marks.put(functions, built.module.functions)

    module, linked = link(built.module.extended([torture_begin, torture_end]), edited)
    loops = _loops(built, module)
    functions = bind(linked, parameters(case.scenario, module))
    functions |= {loop.name: loop for loop in loops}
    verify(functions)
    entries = [loop.name for loop in loops]
    trusted = {module.name_of(torture_begin), module.name_of(torture_end)}
    return Image(functions, entries, checked=True, trusted=trusted), entries, marks


def _loops(built: Built, module: Module) -> list[Function]:
    loops = []
    slot = 0
    for me, thread in enumerate(built.setup.threads):
        body: list[Stmt] = [
            If(Binary("eq", Local("n"), Local("rounds")), (Break(),)),
            Call(module.name_of(torture_begin), (), (Local("t"), Const(me))),
        ]
        stores: list[Stmt] = []
        for i, (function, args) in enumerate(thread.calls):
            name = module.name_of(function)
            n_results = module.functions[name].n_results
            dsts = tuple(f"r{i}.{k}" for k in range(n_results))
            body.append(Call(name, dsts, tuple(map(Const, args))))
            for dst in dsts:
                stores.append(_store_result(slot, dst))
                slot += 1
        body += stores
        body.append(Call(module.name_of(torture_end), (), (Local("t"), Const(me), Local("n"))))
        step = (Assign("n", Binary("add", Local("n"), Const(1))),)
        run = (Assign("n", Const(0)), Loop(tuple(body), step), Return())
        loops.append(Function(f"torture:{thread.name}", ("t", "rounds"), run))
    return loops


def _store_result(slot: int, dst: str) -> Op:
    results = Const(_results_address() + slot)
    return Op("WRITE_ONCE", (), (results, Local(dst)), "results")


_CONTROL = boot.BOOT_WORDS
_STANDS = _CONTROL + 64


def _results_address() -> int:
    return _STANDS + words(boot.MAX_CPUS)


def memory_of(built: Built) -> tuple[Memory, int, int, int]:
    """A memory holding the scenario's start, its copy, the control block and the log."""
    setup = built.setup
    n_words = max(setup.memory, default=HEAP_START) + 1 - HEAP_START
    watched = list(setup.watched.values())
    n_results = len(built.results)
    width = len(watched) + n_results
    shadow = HEAP_START + n_words + 64
    boot_shadow = shadow + n_words + 64
    log = boot_shadow + AFRESH_END - AFRESH + 64
    memory = Memory(log + width * BATCH_ROUNDS + 64)
    for address, word in setup.memory.items():
        if address >= HEAP_START:
            memory.words[address - HEAP_START + shadow] = word
        elif AFRESH <= address < AFRESH_END:
            memory.words[address - AFRESH + boot_shadow] = word
    watch_list = _results_address() + n_results + 8
    ended = watch_list + len(watched) + 8
    for i, address in enumerate(watched):
        memory.words[watch_list + i] = address - HEAP_START
    values = {
        "n_threads": len(setup.threads),
        "heap": HEAP_START,
        "shadow": shadow,
        "n_words": n_words,
        "boot": AFRESH,
        "boot_shadow": boot_shadow,
        "n_boot": AFRESH_END - AFRESH,
        "log": log,
        "n_watched": len(watched),
        "watched": watch_list,
        "n_results": n_results,
        "results": _results_address(),
        "ended": ended,
    }
    for name, value in values.items():
        memory.words[_CONTROL + Torture.offset(name)] = value
    return memory, _CONTROL, log, width
