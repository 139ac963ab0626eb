"""A scenario with its edits made becomes one program for the engine.

Each thread becomes an entry function that makes the thread's calls with constant
arguments and keeps their results in locals; everything below it is the kernel Python
itself, the same intermediate form that is compiled to machine code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mkold.check import door
from mkold.check.blame import blamed, users_code
from mkold.check.changes import changes
from mkold.check.claim import Case
from mkold.check.end import End
from mkold.check.properties import PROPERTIES, WARNINGS
from mkold.check.scenario import Scenario
from mkold.check.setup import Setup, ThreadCalls
from mkold.ir.module import Module, collect
from mkold.ir.nodes import Call, Function, Local, Return
from mkold.ir.program import Mem, Program, Reg, Thread
from mkold.ir.variant import Edit, Set, apply, diff
from mkold.ir.verify import verify


@dataclass(frozen=True, slots=True)
class Built:
    """A scenario ready to decide: the program, and how to read its final states.

    ``module``: what the threads call, before any edit.
    """

    scenario: Scenario
    setup: Setup
    module: Module
    program: Program
    results: tuple[tuple[str, int, int], ...]

    def end(self, state: Mapping[object, int]) -> End:
        """A final state of the program, by the scenario's names."""
        program = self.program
        words = {name: state[Mem(a)] for name, a in self.setup.watched.items()}
        index = {thread.name: i for i, thread in enumerate(program.threads)}
        results = {
            key: state[Reg(index[key[0]], _local(key[1], key[2]))] for key in self.results
        }
        return End(words, results)


def build_case(case: Case) -> Built:
    """The program of a case.

    Raises
    ------
    InputError : as ``build``, at the case's line; or ``only`` names no property
    """
    with blamed(case.at):
        built = build(case.scenario, case.edits)
    nevers = {never.name for never in built.setup.nevers}
    door.known("property", case.only, {*PROPERTIES, *nevers}, at=case.at)
    return built


def build(scenario: Scenario, edits: tuple[Edit, ...] = ()) -> Built:
    """Run the setup, make the edits, and put the program together.

    Raises
    ------
    InputError : the setup fails or states no thread, an edit names a place that is not
        there, or the scenario a build parameter or a property
    """
    setup, module = _set_up(scenario)
    edited = apply(module.functions, parameters(scenario, module), edits)
    entries, threads, results = _entries(setup.threads, module)
    functions = {**edited, **{entry.name: entry for entry in entries}}
    verify(functions)
    program = Program(
        name=scenario.name,
        functions=functions,
        threads=threads,
        init={a: word for a, word in setup.memory.items() if word},
        symbols=setup.names,
        observed=_observed(setup, results),
        objects=setup.objects(),
    )
    return Built(scenario, setup, module, program, results)


# Setups are pure: a scenario's is run once a process.
_SET_UP: dict[int, tuple[Scenario, Setup, Module]] = {}


def _set_up(scenario: Scenario) -> tuple[Setup, Module]:
    known = _SET_UP.get(id(scenario))
    if known is None:
        setup = Setup(scenario.params)
        with users_code(f"setup of scenario {scenario.name}", at=scenario.at):
            scenario.setup(setup)
        if not setup.threads:
            raise door.wrong(f"scenario {scenario.name} states no thread", at=scenario.at)
        roots = [function for thread in setup.threads for function, _ in thread.calls]
        held = {*setup.memory.values()} & {*setup.pointed}
        with blamed(scenario.at):
            module = collect(
                roots,
                hooks=setup.hooks,
                stand_ins=scenario.stand_ins,
                pointed=[setup.pointed[word] for word in sorted(held)],
            )
        _check_names(scenario, setup, module)
        known = scenario, setup, module
        _SET_UP[id(scenario)] = known
    return known[1], known[2]


def _check_names(scenario: Scenario, setup: Setup, module: Module) -> None:
    """The build parameters and properties that a scenario names must be there."""
    nevers = {never.name for never in setup.nevers}
    door.known("property", scenario.ignore, {*PROPERTIES, *WARNINGS, *nevers}, at=scenario.at)
    used = {*module.parameters, *setup.parameters}
    if not used.issuperset(scenario.params):
        # What a stand-in hides may be named as well.
        hidden = collect([f for t in setup.threads for f, _ in t.calls], hooks=setup.hooks)
        used |= {*hidden.parameters}
        door.known("build parameter", scenario.params, used, at=scenario.at)


def parameters(scenario: Scenario, module: Module) -> dict[str, int]:
    """Every build parameter's value for ``module`` in ``scenario``."""
    return {**module.parameters, **scenario.params}


def source_diff(scenario: Scenario, edits: tuple[Edit, ...]) -> str:
    """What ``edits`` change: build parameters, then a unified diff of the source.

    Where the change can't be made in the source's text, of the functions as they are decided.
    """
    before = build(scenario)
    values = parameters(scenario, before.module)
    lines = [
        f"build parameter {edit.name}: {values[edit.name]} -> {edit.value}"
        for edit in edits
        if isinstance(edit, Set)
    ]
    changed = changes(before.program.functions, edits)
    if changed is None:
        changed = diff(before.program.functions, build(scenario, edits).program.functions)
    return "\n".join([*lines, *([changed] if changed else [])])


def _observed(setup: Setup, results: tuple[tuple[str, int, int], ...]) -> tuple[Mem | Reg, ...]:
    index = {thread.name: i for i, thread in enumerate(setup.threads)}
    words = [Mem(address) for address in setup.watched.values()]
    return (*words, *(Reg(index[name], _local(call, k)) for name, call, k in results))


def _entries(
    threads: list[ThreadCalls], module: Module
) -> tuple[list[Function], tuple[Thread, ...], tuple[tuple[str, int, int], ...]]:
    """Threads that make the same calls run one function, each with words of its own: so an
    engine can see that they may be exchanged."""
    entries: dict[tuple[str, ...], Function] = {}
    made, results = [], []
    for thread in threads:
        names = tuple(module.name_of(function) for function, _ in thread.calls)
        words = [word for _, args in thread.calls for word in args]
        for i, name in enumerate(names):
            results += [(thread.name, i, k) for k in range(module.functions[name].n_results)]
        if names not in entries:
            entries[names] = _entry(f"thread:{thread.name}", names, thread, module)
        made.append(Thread(thread.name, entries[names].name, tuple(words)))
    return [*entries.values()], tuple(made), tuple(results)


def _entry(name: str, names: tuple[str, ...], thread: ThreadCalls, module: Module) -> Function:
    """Makes the calls of ``names``, with words that it is given."""
    params = [f"word{i}" for i in range(sum(len(args) for _, args in thread.calls))]
    given = iter(params)
    body = []
    for i, (called, (_, args)) in enumerate(zip(names, thread.calls, strict=True)):
        dsts = tuple(_local(i, k) for k in range(module.functions[called].n_results))
        body.append(Call(called, dsts, tuple(Local(next(given)) for _ in args)))
    return Function(name, tuple(params), (*body, Return()))


def _local(call: int, index: int) -> str:
    return f"r{call}" if index == 0 else f"r{call}.{index}"
