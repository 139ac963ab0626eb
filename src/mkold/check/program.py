"""A scenario with its edits made becomes one program for the engine.

Each thread becomes an entry function that makes the thread's calls with constant
arguments and keeps their results in locals; everything below it is the kernel Python
itself, the same intermediate form that is compiled to machine code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mkold.base.errors import InputError
from mkold.check.blame import users_code
from mkold.check.scenario import End, Scenario, Setup, ThreadCalls
from mkold.ir.module import Definition, Module, collect
from mkold.ir.nodes import Call, Const, Function, Return
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


def build(scenario: Scenario, edits: tuple[Edit, ...] = ()) -> Built:
    """Run the setup, make the edits, and put the program together.

    Raises
    ------
    InputError : the setup states no thread, or an edit names a place that is not there
    """
    setup, module = _set_up(scenario)
    edited = apply(module.functions, parameters(scenario, module), edits)
    entries, results = _entries(setup.threads, module)
    functions = {**edited, **{entry.name: entry for entry in entries}}
    verify(functions)
    program = Program(
        name=scenario.name,
        functions=functions,
        threads=tuple(
            Thread(thread.name, entry.name)
            for thread, entry in zip(setup.threads, entries, strict=True)
        ),
        init={a: word for a, word in setup.memory.items() if word},
        symbols=setup.names,
        observed=_observed(setup, results),
    )
    return Built(scenario, setup, module, program, results)


# Setups are pure: a scenario's is run once a process.
_SET_UP: dict[int, tuple[Scenario, Setup, Module]] = {}


def _set_up(scenario: Scenario) -> tuple[Setup, Module]:
    known = _SET_UP.get(id(scenario))
    if known is None:
        setup = Setup(scenario.params)
        with users_code(f"setup of scenario {scenario.name}"):
            scenario.setup(setup)
        if not setup.threads:
            raise InputError(f"scenario {scenario.name} states no thread")
        roots = [function for thread in setup.threads for function, _ in thread.calls]
        known = scenario, setup, sources(scenario, roots)
        _SET_UP[id(scenario)] = known
    return known[1], known[2]


def sources(scenario: Scenario, roots: Iterable[Definition]) -> Module:
    """``roots`` and all they call, with the scenario's stand-ins in place.

    Raises
    ------
    InputError : a stand-in does not fit what it stands for
    """
    return collect(roots, stand_ins=scenario.stand_ins)


def parameters(scenario: Scenario, module: Module) -> dict[str, int]:
    """Every build parameter's value for ``module`` in ``scenario``."""
    return {**module.parameters, **scenario.params}


def source_diff(scenario: Scenario, edits: tuple[Edit, ...]) -> str:
    """What ``edits`` change: build parameters, then a unified diff of functions."""
    before = build(scenario)
    values = parameters(scenario, before.module)
    lines = [
        f"build parameter {edit.name}: {values[edit.name]} -> {edit.value}"
        for edit in edits
        if isinstance(edit, Set)
    ]
    changed = diff(before.program.functions, build(scenario, edits).program.functions)
    return "\n".join([*lines, *([changed] if changed else [])])


def _observed(setup: Setup, results: tuple[tuple[str, int, int], ...]) -> tuple[Mem | Reg, ...]:
    index = {thread.name: i for i, thread in enumerate(setup.threads)}
    words = [Mem(address) for address in setup.watched.values()]
    return (*words, *(Reg(index[name], _local(call, k)) for name, call, k in results))


def _entries(
    threads: list[ThreadCalls], module: Module
) -> tuple[list[Function], tuple[tuple[str, int, int], ...]]:
    entries, results = [], []
    for thread in threads:
        body = []
        for i, (function, args) in enumerate(thread.calls):
            name = module.name_of(function)
            n_results = module.functions[name].n_results
            dsts = tuple(_local(i, k) for k in range(n_results))
            results += [(thread.name, i, k) for k in range(n_results)]
            body.append(Call(name, dsts, tuple(map(Const, args))))
        entries.append(Function(f"thread:{thread.name}", (), (*body, Return())))
    return entries, tuple(results)


def _local(call: int, index: int) -> str:
    return f"r{call}" if index == 0 else f"r{call}.{index}"
