"""The closed program that everyone works on, made of what front ends hand over.

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
* A call through a pointer may reach every function of the pointer's signature whose
  address is taken in the module, or whose word lies in the memory it will run on.
* Two defaults of one build parameter, or a function that calls itself, are errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mkold.base.errors import InputError
from mkold.ir.callgraph import circle
from mkold.ir.definition import Definition, word_of
from mkold.ir.edit import map_expressions, map_statements, rename_calls
from mkold.ir.layout import Layout
from mkold.ir.nodes import (
    CallPtr,
    Expr,
    Function,
    FunctionWord,
    Stmt,
    map_parts,
)


@dataclass(frozen=True, slots=True)
class Module:
    """Definitions closed over their calls.

    Attributes
    ----------
    functions : the lowered functions by their names here; build parameters are open
    names : those names, by ``module:name``
    parameters : every build parameter that is used, and its default
    layouts : every struct that is used, by name
    pointed : the definitions whose address is taken, by the word that stands for them
    """

    functions: Mapping[str, Function]
    names: Mapping[str, str]
    parameters: Mapping[str, int]
    layouts: Mapping[str, Layout]
    pointed: Mapping[int, Definition]
    _roots: tuple[Definition, ...] = field(repr=False)
    _hooks: Mapping[str, Definition] = field(repr=False)
    _stand_ins: Mapping[str, Definition] = field(repr=False)
    _held: tuple[Definition, ...] = field(repr=False)
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
        return collect(
            (*self._roots, *definitions),
            hooks=self._hooks,
            stand_ins=self._stand_ins,
            pointed=self._held,
        )

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
    pointed: Iterable[Definition] = (),
) -> Module:
    """``definitions`` and all that they call.

    Parameters
    ----------
    hooks : what each hook stands for, by the hook's name; more than are needed will do
    stand_ins : definitions put in the place of others, by the others' names
    pointed : definitions whose words lie in memory already

    Raises
    ------
    InputError : a hook is not bound, a hook or a stand-in does not fit, a build parameter
        has two defaults, or a function calls itself
    """
    roots, hooks, stand_ins = tuple(definitions), hooks or {}, stand_ins or {}
    held = tuple(pointed)
    found = _closure(roots, hooks, stand_ins, held)
    _check_stand_ins(found, stand_ins)
    names = _names(found)
    sources = {names[id(d)]: stand_ins.get(d.name, d) for d in found}
    words = _pointed(sources.values(), [d for d in held if d in found], hooks)
    members = _members(words.values(), names)
    functions = {}
    for name, source in sources.items():
        calls = {
            label: names[id(_definition(callee, hooks))]
            for label, callee in source.callees.items()
        }
        renamed = rename_calls(source.lowered, name, calls)
        if source.pointed or source.called_through:
            keys = {names[id(definition)]: definition.key for definition in found}
            renamed = _with_pointers(renamed, keys, members)
        functions[name] = renamed
    _check_no_recursion(functions)
    return Module(
        functions,
        {definition.key: names[id(definition)] for definition in found},
        _parameters(sources.values()),
        _layouts(sources.values()),
        words,
        roots,
        hooks,
        stand_ins,
        held,
        names,
    )


def _definition(reached: Definition, hooks: Mapping[str, Definition]) -> Definition:
    """What a name that is reached stands for: itself, or what the hook is bound to."""
    if not reached.is_hook:
        return reached
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
    pointed: Iterable[Definition],
) -> list[Definition]:
    """Every definition that is reached, each before those it calls.

    One whose word lies in memory is reached once a pointer of its signature is called.
    """
    found: dict[int, Definition] = {}
    called: set[str] = set()
    waiting, held = list(reversed([*roots])), [*pointed]
    while waiting:
        definition = _definition(waiting.pop(), hooks)
        if id(definition) not in found:
            found[id(definition)] = definition
            source = stand_ins.get(definition.name, definition)
            called.update(source.called_through)
            waiting += reversed([*source.callees.values()])
        if not waiting:
            waiting = [d for d in held if d.signature in called]
            held = [d for d in held if d not in waiting]
    return [*found.values()]


def _check_stand_ins(found: list[Definition], stand_ins: Mapping[str, Definition]) -> None:
    places = {definition.name: definition for definition in found}
    for name, stand_in in stand_ins.items():
        place = places.get(name)
        if place is None:
            raise InputError(f"{stand_in.name} stands in for {name}, which nothing here calls")
        if place.signature != stand_in.signature:
            raise InputError(
                f"{stand_in.name} does not fit where {name} stands: it is "
                f"{stand_in.signature}, and {place.signature} is wanted"
            )


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


def _pointed(
    sources: Iterable[Definition], more: Iterable[Definition], hooks: Mapping[str, Definition]
) -> dict[int, Definition]:
    """Every definition whose address is taken, by its word."""
    taken = [s.callees[label] for s in sources for label in s.pointed]
    words: dict[int, Definition] = {}
    for reached in (*taken, *more):
        definition = _definition(reached, hooks)
        if words.setdefault(word_of(definition), definition) is not definition:
            other = words[word_of(definition)]
            raise InputError(f"{definition.key} and {other.key} can't be told apart as values")
    return words


def _members(
    pointed: Iterable[Definition], names: Mapping[int, str]
) -> dict[str, tuple[FunctionWord, ...]]:
    """The functions that a pointer of each signature may mean."""
    members: dict[str, tuple[FunctionWord, ...]] = {}
    for definition in pointed:
        word = FunctionWord(names[id(definition)], definition.key)
        members[definition.signature] = (*members.get(definition.signature, ()), word)
    return members


def _with_pointers(
    function: Function, keys: Mapping[str, str], members: Mapping[str, tuple[FunctionWord, ...]]
) -> Function:
    """``function`` with words of what hooks stand for, and members of its pointers."""

    def word(expr: Expr) -> Expr | None:
        if isinstance(expr, FunctionWord):
            return FunctionWord(expr.name, keys[expr.name])
        return None

    def members_of(stmt: Stmt) -> tuple[Stmt, ...] | None:
        if isinstance(stmt, CallPtr):
            return (replace(stmt, members=members.get(stmt.signature, ())),)
        return None

    body = map_expressions(function.body, lambda expr: map_parts(expr, word))
    return replace(function, body=map_statements(body, members_of))


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
    ring = circle(functions)
    if ring:
        raise InputError(f"recursion: {' calls '.join(ring)}")
