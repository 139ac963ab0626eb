"""What front ends hand over, and the closed program that everyone else works on.

A front end checks and lowers one function at a time and offers each as a ``Definition``.
``collect`` closes some of them over their calls and makes a ``Module``. Back ends, the
checker and the machine take definitions or modules; none of them knows a front end.

Rules
-----
* All that a module holds is found from what is reached: functions, the layouts of structs,
  build parameters and their defaults. Nothing is registered when a file is imported, so
  the order of imports never matters.
* A function has its own name; where two that are reached share it, all that do are called
  ``module.function``.
* A hook is a signature that somebody else defines (an architecture, say): it is bound
  by name when a module is collected.
* A stand-in takes the name, and so the place, of another function.
* Two defaults of one build parameter, or a function that calls itself, are errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mkold.base.errors import InputError
from mkold.ir.edit import rename_calls
from mkold.ir.layout import Layout
from mkold.ir.nodes import CallRcu, Function, callees, walk


class Definition(Protocol):
    """A checked function of some front end, or a hook."""

    @property
    def key(self) -> str:
        """``module:name``."""

    @property
    def name(self) -> str:
        """What the source calls it."""

    @property
    def signature(self) -> str:
        """Types of parameters and results; functions that may stand for each other have
        the same."""

    @property
    def is_hook(self) -> bool:
        """Whether only the signature is here."""

    @property
    def lowered(self) -> Function:
        """The function; calls name entries of ``callees``. A hook's body is empty."""

    @property
    def callees(self) -> Mapping[str, Definition]:
        """Whatever it calls or hands on."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """The build parameters it uses, and their defaults."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The structs it uses."""


@dataclass(frozen=True, slots=True)
class Module:
    """Definitions closed over their calls.

    Attributes
    ----------
    functions : the lowered functions by their names here; build parameters are open
    names : those names, by ``module:name``
    parameters : every build parameter that is used, and its default
    layouts : every struct that is used, by name
    """

    functions: Mapping[str, Function]
    names: Mapping[str, str]
    parameters: Mapping[str, int]
    layouts: Mapping[str, Layout]
    _roots: tuple[Definition, ...] = field(repr=False)
    _hooks: Mapping[str, Definition] = field(repr=False)
    _stand_ins: Mapping[str, Definition] = field(repr=False)
    _by_identity: Mapping[int, str] = field(repr=False)

    def name_of(self, definition: Definition) -> str:
        """What a definition is called here.

        Raises
        ------
        InputError : it is not reached
        """
        name = self._by_identity.get(id(_definition(definition, self._hooks)))
        if name is None:
            raise InputError(f"{definition.name} is not in this program")
        return name

    def extended(self, definitions: Iterable[Definition]) -> Module:
        """This module and ``definitions``, under the same hooks and stand-ins."""
        roots = (*self._roots, *definitions)
        return collect(roots, hooks=self._hooks, stand_ins=self._stand_ins)

    def values(self, given: Mapping[str, int]) -> dict[str, int]:
        """The value of each build parameter, where ``given`` overrides defaults.

        Raises
        ------
        InputError : ``given`` names one that nothing here uses
        """
        for name in given:
            if name not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "none"
                raise InputError(
                    f"there is no build parameter {name} in what is built; there are: {known}"
                )
        return {**self.parameters, **given}


def collect(
    definitions: Iterable[Definition],
    *,
    hooks: Mapping[str, Definition] | None = None,
    stand_ins: Mapping[str, Definition] | None = None,
) -> Module:
    """``definitions`` and all that they call.

    Parameters
    ----------
    hooks : what each hook stands for, by the hook's name; more than are needed will do
    stand_ins : definitions put in the place of others, by the others' names

    Raises
    ------
    InputError : a hook is not bound, a hook or a stand-in does not fit, a build parameter
        has two defaults, or a function calls itself
    """
    roots, hooks, stand_ins = tuple(definitions), hooks or {}, stand_ins or {}
    found = _closure(roots, hooks, stand_ins)
    _check_stand_ins(found, stand_ins)
    names = _names(found)
    functions = {}
    for definition in found:
        source = stand_ins.get(definition.name, definition)
        calls = {
            label: names[id(_definition(callee, hooks))]
            for label, callee in source.callees.items()
        }
        name = names[id(definition)]
        functions[name] = rename_calls(source.lowered, name, calls)
    _check_no_recursion(functions)
    sources = [stand_ins.get(definition.name, definition) for definition in found]
    return Module(
        functions,
        {definition.key: names[id(definition)] for definition in found},
        _parameters(sources),
        _layouts(sources),
        roots,
        hooks,
        stand_ins,
        names,
    )


def _definition(reached: Definition, hooks: Mapping[str, Definition]) -> Definition:
    """What a name that is reached stands for: itself, or what the hook is bound to."""
    if not reached.is_hook:
        # The definition that another room gives (``lang.declare``), if it is such a one.
        found: Definition = getattr(reached, "definition", reached)
        return found
    bound = hooks.get(reached.name)
    if bound is None:
        raise InputError(f"{reached.name} is a hook, and nothing is bound to it here")
    if bound.signature != reached.signature:
        raise InputError(
            f"{bound.key} {bound.signature} does not fit the hook "
            f"{reached.key} {reached.signature}"
        )
    return bound


def _closure(
    roots: Iterable[Definition],
    hooks: Mapping[str, Definition],
    stand_ins: Mapping[str, Definition],
) -> list[Definition]:
    """Every definition that is reached, each before those it calls."""
    found: dict[int, Definition] = {}
    waiting = list(reversed([*roots]))
    while waiting:
        definition = _definition(waiting.pop(), hooks)
        if id(definition) not in found:
            found[id(definition)] = definition
            source = stand_ins.get(definition.name, definition)
            waiting += reversed([*source.callees.values()])
    return [*found.values()]


def _check_stand_ins(found: list[Definition], stand_ins: Mapping[str, Definition]) -> None:
    places = {definition.name: definition for definition in found}
    for name, stand_in in stand_ins.items():
        place = places.get(name)
        if place is None:
            raise InputError(f"{stand_in.name} stands in for {name}, which nothing here calls")
        there, here = place.lowered, stand_in.lowered
        if (len(there.params), there.n_results) != (len(here.params), here.n_results):
            raise InputError(f"{stand_in.name} does not fit where {name} stands")


def _names(found: list[Definition]) -> dict[int, str]:
    by_name: dict[str, list[Definition]] = {}
    for definition in found:
        by_name.setdefault(definition.name, []).append(definition)
    names = {}
    for name, same in by_name.items():
        taken: set[str] = set()
        for definition in same:
            chosen = name if len(same) == 1 else definition.key.replace(":", ".")
            while chosen in taken:  # the same name twice in one module
                chosen += "'"
            taken.add(chosen)
            names[id(definition)] = chosen
    return names


def _parameters(sources: Iterable[Definition]) -> dict[str, int]:
    defaults: dict[str, int] = {}
    users: dict[str, Definition] = {}
    for source in sources:
        for name, default in source.parameters.items():
            if defaults.setdefault(name, default) != default:
                raise InputError(
                    f"the build parameter {name} has two defaults: {defaults[name]} in "
                    f"{users[name].key}, {default} in {source.key}"
                )
            users.setdefault(name, source)
    return defaults


def _layouts(sources: Iterable[Definition]) -> dict[str, Layout]:
    layouts: dict[str, Layout] = {}
    for source in sources:
        for layout in source.layouts:
            name = layout.name
            while layouts.setdefault(name, layout) != layout:  # two structs of one name
                name += "'"
    return layouts


def _check_no_recursion(functions: Mapping[str, Function]) -> None:
    """A front end sees a function that calls itself; a circle through a hook shows here."""
    done: set[str] = set()
    for root in functions:
        path: dict[str, Iterator[str]] = {root: _called(functions[root])}
        while path:
            name, callees = next(reversed(path.items()))
            callee = next(callees, None)
            if callee is None:
                done.add(name)
                del path[name]
            elif callee in path:
                circle = [*path][[*path].index(callee) :]
                raise InputError(f"recursion: {' calls '.join([*circle, callee])}")
            elif callee not in done:
                path[callee] = _called(functions[callee])


def _called(function: Function) -> Iterator[str]:
    return (
        callee
        for stmt in walk(function.body)
        if not isinstance(stmt, CallRcu)  # it runs later, in a process of its own
        for callee in callees(stmt)
    )
