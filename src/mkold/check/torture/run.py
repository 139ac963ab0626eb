"""The same scenario natively, on real threads, many times over.

Every outcome seen must be one that the model allows: an outcome that it forbids is an
error of mkold's (of the model, the compiler, or a lock), never of the scenario.

Known limits: a machine shows few of the outcomes that the model allows, so this can only
find errors, never their absence; scenarios that come to ``call_rcu`` are left out, because a
callback of one round would run in the next; unmarked accesses may be compiled to more
than the model allows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mkold import lkmm
from mkold.check.claim import Case
from mkold.check.decide import DEFAULT_UNROLL
from mkold.check.program import Built, build_case, parameters
from mkold.check.setup import HEAP_START
from mkold.check.torture.code import Torture, torture_begin, torture_end
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
from mkold.lkmm.unroll import unroll
from mkold.native.image import Image
from mkold.native.memory import Memory

BATCH_ROUNDS = 2_000
STUCK_S = 20.0
# Of the first words, the allocators' and the modules' start afresh; RCU's go on from round to
# round.
AFRESH, AFRESH_END = boot.MEMBLOCK, boot.STACKS


@dataclass(frozen=True, slots=True)
class TortureResult:
    """``forbidden``: final states that were seen and that the model does not allow; the
    empty one: a thread stopped, and the model knows no reason."""

    scenario: str
    label: str
    rounds: int
    n_seen: int
    n_allowed: int
    forbidden: tuple[tuple[int, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Final states seen; ``stopped``: a thread hit BUG_ON or got stuck."""

    states: set[tuple[int, ...]]
    stopped: bool = False


def torture(case: Case, *, rounds: int, timeout_s: float) -> TortureResult:
    """Run ``case`` natively ``rounds`` times and compare with the model's final states."""
    built = build_case(case)
    reason = _left_out(built)
    if reason:
        return _result(case, 0, 0, 0, note=f"  left out: {reason}")
    verdict = lkmm.decide(
        built.program, states=True, timeout_s=timeout_s, max_unroll=DEFAULT_UNROLL
    )
    if verdict.status is not lkmm.Status.OK:
        return _result(case, 0, 0, 0, note="  left out: the model did not decide it")
    seen = run_natively(case, built, rounds)
    may_stop = bool({"bug-on", "hang"} & set(verdict.flags))
    return compare(case, seen, set(verdict.states), rounds, may_stop=may_stop)


def compare(
    case: Case,
    seen: Outcomes,
    allowed: set[tuple[int, ...]],
    rounds: int,
    *,
    may_stop: bool = False,
) -> TortureResult:
    """What of ``seen`` the model does not allow; ``may_stop``: it allows BUG_ON or hang."""
    bad = seen.states - allowed
    note = "  stopped: BUG_ON or stuck" if seen.stopped else ""
    if seen.stopped and not may_stop:
        bad = bad | {()}
        note += ", which the model rules out"
    return _result(case, rounds, len(seen.states), len(allowed), bad, note)


def _result(
    case: Case,
    rounds: int,
    n_seen: int,
    n_allowed: int,
    bad: Iterable[tuple[int, ...]] = (),
    note: str = "",
) -> TortureResult:
    return TortureResult(
        case.scenario.name, case.label, rounds, n_seen, n_allowed, tuple(sorted(bad)), note
    )


def _left_out(built: Built) -> str:
    """Why a scenario can't be run over and over; empty if it can."""
    if built.scenario.partial:
        return "the scenario looks at some executions only"
    if any(address < HEAP_START for address in built.setup.watched.values()):
        return "it watches a word of the boot area"
    graph = unroll(built.program, DEFAULT_UNROLL)
    if len(graph.unit_of_thread) > len(built.setup.threads):
        return "call_rcu"
    return ""


def run_natively(case: Case, built: Built, rounds: int) -> Outcomes:
    """Final states seen in ``rounds`` rounds, up to the first that stops."""
    image, entries = _image(case, built)
    memory, control, log, width = _memory(built)
    seen: set[tuple[int, ...]] = set()
    done = 0
    while done < rounds:
        batch = min(BATCH_ROUNDS, rounds - done)
        if not _run_batch(image, entries, memory, control, batch):
            return Outcomes(seen, stopped=True)
        rows = memory.words[log : log + batch * width].reshape(batch, width)
        seen |= {tuple(map(int, row)) for row in np.unique(rows, axis=0)}
        done += batch
    return Outcomes(seen)


def _run_batch(
    image: Image, entries: list[str], memory: Memory, control: int, batch: int
) -> bool:
    status = [1] * len(entries)

    def work(cpu: int) -> None:
        status[cpu] = image.entry(entries[cpu])(memory.base, cpu, control, batch, None)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(entries))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STUCK_S)
        if thread.is_alive():
            memory.stop()
    for thread in threads:
        thread.join(STUCK_S)
    return not any(status)


def _image(case: Case, built: Built) -> tuple[Image, list[str]]:
    """The scenario's functions, edited as the checker's are, and a loop for each thread."""

    def edited(module: Module) -> Mapping[str, Function]:
        return apply(module.functions, parameters(case.scenario, module), case.edits)

    module, linked = link(built.module.extended([torture_begin, torture_end]), edited)
    loops = _loops(built, module)
    functions = bind(linked, parameters(case.scenario, module))
    functions |= {loop.name: loop for loop in loops}
    verify(functions)
    entries = [loop.name for loop in loops]
    return Image(functions, entries, checked=False), entries


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


def _results_address() -> int:
    return _CONTROL + 64


def _memory(built: Built) -> tuple[Memory, int, int, int]:
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
    }
    for name, value in values.items():
        memory.words[_CONTROL + Torture.offset(name)] = value
    return memory, _CONTROL, log, width
