"""Variants: stated changes to functions, applied to the intermediate form, shown as a diff.

A place is named after what stands there: ``kvm_arch_test_clear_young:smp_rmb[0]`` is the
first ``smp_rmb`` of that function (``[0]`` may be left out where there is but one). An
edit is one value; ``apply`` makes edits in order and says what it could not find.

====================  ==================================================================
``Drop(place)``       the primitive is not there; its results read 0
``Swap(place, p)``    primitive ``p`` stands in its place. A compare-and-swap may become a
                      true exchange or a store; it then always "succeeds"
``Split(place)``      a read-modify-write becomes a READ_ONCE and a WRITE_ONCE
``Exchange(a, b)``    the two primitives, in one block, change places
``Before(a, b)``      ``a`` moves to just before ``b``, in one function
``Force(place, v)``   the branch right behind the place is always (1) or never (0) taken
``Skip(function)``    the function does nothing and returns zeros
``Set(name, v)``      a build parameter has this value
====================  ==================================================================

Known limits: places are primitives; a change that is none of these is made by a build
parameter in the source.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mkold.base.errors import InputError, Pos
from mkold.ir import access
from mkold.ir.algebra import EXPRESSIONS
from mkold.ir.edit import Body, bind, map_statements
from mkold.ir.nodes import (
    WORD_BITS,
    Assign,
    Block,
    Const,
    Function,
    If,
    Local,
    Loop,
    Op,
    Return,
    Stmt,
    walk,
)
from mkold.ir.prims import PRIMS, Shape, Takes, When
from mkold.ir.text import function_text
from mkold.ir.verify import verify


@dataclass(frozen=True, slots=True)
class Site:
    """A place: the ``index``-th ``prim`` of ``function``, counted in source order.
    ``width`` and ``shift`` are those of the object (``ir.access``)."""

    function: str
    prim: str
    index: int
    what: str = field(default="", compare=False)
    at: Pos | None = field(default=None, compare=False)
    width: int = field(default=WORD_BITS, compare=False)
    shift: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """As edits name it."""
        return f"{self.function}:{self.prim}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Drop:
    place: str


@dataclass(frozen=True, slots=True)
class Swap:
    place: str
    prim: str


@dataclass(frozen=True, slots=True)
class Split:
    place: str


@dataclass(frozen=True, slots=True)
class Exchange:
    place: str
    other: str


@dataclass(frozen=True, slots=True)
class Before:
    place: str
    other: str


@dataclass(frozen=True, slots=True)
class Force:
    place: str
    taken: int


@dataclass(frozen=True, slots=True)
class Skip:
    function: str


@dataclass(frozen=True, slots=True)
class Set:
    name: str
    value: int


Edit = Drop | Swap | Split | Exchange | Before | Force | Skip | Set


def sites(functions: Mapping[str, Function]) -> Iterator[Site]:
    """Every place of ``functions``, function by function, in source order."""
    for function in functions.values():
        seen: dict[str, int] = {}
        for stmt in walk(function.body):
            if isinstance(stmt, Op):
                index = seen.get(stmt.prim, 0)
                seen[stmt.prim] = index + 1
                yield Site(
                    function.name, stmt.prim, index, stmt.what, stmt.at, stmt.width, stmt.shift
                )


def apply(
    functions: Mapping[str, Function], params: Mapping[str, int], edits: tuple[Edit, ...]
) -> dict[str, Function]:
    """``functions`` with build parameters bound and ``edits`` made, in order.

    Raises
    ------
    InputError : an edit names a place, a primitive or a parameter that is not there, or
        what is left makes no sense (a local read before it is assigned)
    """
    settings = dict(params)
    for edit in edits:
        if isinstance(edit, Set):
            if edit.name not in settings:
                raise InputError(f"no build parameter is called {edit.name}")
            settings[edit.name] = edit.value
    original = bind(functions, settings)
    changed = dict(original)
    for edit in edits:
        if isinstance(edit, Skip):
            changed[edit.function] = _skipped(changed, edit.function)
        elif not isinstance(edit, Set):
            name, ops = _find_either(original, changed, edit)
            changed[name] = _edited(changed[name], edit, ops)
    _must_make_sense(changed)
    return changed


def _must_make_sense(functions: Mapping[str, Function]) -> None:
    try:
        verify(functions)
    except AssertionError as error:
        raise InputError(f"after the edits, {error}") from error


def diff(before: Mapping[str, Function], after: Mapping[str, Function]) -> str:
    """A unified diff of the functions that differ; empty if none does."""
    lines: list[str] = []
    for name in sorted({*before, *after}):
        old = function_text(before[name]).splitlines() if name in before else []
        new = function_text(after[name]).splitlines() if name in after else []
        lines += difflib.unified_diff(old, new, name, name, lineterm="", n=2)
    return "\n".join(lines)


def _skipped(functions: Mapping[str, Function], name: str) -> Function:
    if name not in functions:
        raise InputError(f"no function {name} runs here")
    function = functions[name]
    return replace(function, body=(Return((Const(0),) * function.n_results, function.at),))


def _find_either(
    original: Mapping[str, Function], changed: Mapping[str, Function], edit: Edit
) -> tuple[str, list[Op]]:
    """Places keep their numbers while edits are made; what an edit put in is found too."""
    try:
        return _find(original, edit)
    except InputError:
        return _find(changed, edit)


def _find(functions: Mapping[str, Function], edit: Edit) -> tuple[str, list[Op]]:
    """The function that ``edit`` changes and the primitives it names."""
    assert not isinstance(edit, Set | Skip)
    places = [edit.place]
    if isinstance(edit, Exchange | Before):
        places.append(edit.other)
    found = [_op_at(functions, place) for place in places]
    if len({name for name, _ in found}) > 1:
        raise InputError(f"{' and '.join(places)} are not in one function")
    if isinstance(edit, Swap) and edit.prim not in PRIMS:
        raise InputError(f"there is no primitive {edit.prim}")
    return found[0][0], [op for _, op in found]


def _op_at(functions: Mapping[str, Function], place: str) -> tuple[str, Op]:
    name, _, rest = place.rpartition(":")
    prim, _, index = rest.partition("[")
    if name not in functions:
        raise InputError(f"{place}: no function {name} runs here")
    ops = [s for s in walk(functions[name].body) if isinstance(s, Op) and s.prim == prim]
    number = int(index.rstrip("]")) if index else 0
    if number >= len(ops) or (not index and len(ops) > 1):
        here = ", ".join(site.name for site in sites({name: functions[name]}))
        raise InputError(f"{place}: no such place; there are: {here or 'none'}")
    return name, ops[number]


def _edited(function: Function, edit: Edit, ops: list[Op]) -> Function:
    target = ops[0]

    def is_target(stmt: Stmt) -> bool:
        return stmt is target

    match edit:
        case Drop():
            body = _replaced(function.body, is_target, _zeroed(target))
        case Swap(prim=prim):
            body = _replaced(function.body, is_target, _swapped(target, prim))
        case Split():
            body = _replaced(function.body, is_target, _split(target))
        case Exchange():
            other = ops[1]
            body = map_statements(function.body, _trade(target, other))
        case Before():
            other = ops[1]
            body = _replaced(function.body, is_target, ())
            body = _replaced(body, lambda stmt: stmt is other, (target, other))
        case Force(taken=taken):
            body = _forced(function.body, target, taken)
        case _:
            raise AssertionError(edit)
    return replace(function, body=body)


def _replaced(body: Body, is_target: Callable[[Stmt], bool], new: Body) -> Body:
    # Statements that are kept keep their identity, so later edits find theirs.
    return map_statements(body, lambda stmt: new if is_target(stmt) else None)


def _trade(a: Op, b: Op) -> Callable[[Stmt], Body | None]:
    def change(stmt: Stmt) -> Body | None:
        if stmt is a:
            return (b,)
        return (a,) if stmt is b else None

    return change


def _zeroed(op: Op) -> Body:
    return tuple(Assign(dst, Const(0), op.at) for dst in op.dsts)


def _swapped(op: Op, prim: str) -> Body:
    old, new = PRIMS[op.prim], PRIMS[prim]
    if new.n_args == old.n_args and (new.n_dsts == old.n_dsts or not op.dsts):
        return (replace(op, prim=prim),)
    if old.shape is Shape.RMW and old.when is When.EQUAL:
        return _always(op, prim)
    raise InputError(f"{op.prim} can't become {prim}: they take or give different things")


def _always(op: Op, prim: str) -> Body:
    """A compare-and-swap turned into an exchange or a store, with success for a result."""
    row, old = PRIMS[prim], PRIMS[op.prim]
    if row.takes != (Takes.PLACE, Takes.OPERAND) or row.op not in ("", "set"):
        raise InputError(f"{op.prim} can't become {prim}")
    update = access.update(EXPRESSIONS, old, op, op.args)
    assert update.against is not None
    done = replace(op, prim=prim, args=(op.args[0], update.operand), dsts=())
    results = update.results(update.against, Const(1))
    given = list(zip(op.dsts, results, strict=False))
    # The last first: what is compared with may be the local that takes the success.
    return (done, *(Assign(dst, value, op.at) for dst, value in reversed(given)))


def _split(op: Op) -> Body:
    row = PRIMS[op.prim]
    if row.shape is not Shape.RMW or row.native:
        raise InputError(f"{op.prim} is no read-modify-write")
    seen = f"{op.prim}.old"
    place = access.address(EXPRESSIONS, row, op.args)
    update = access.update(EXPRESSIONS, row, op, op.args)
    read = replace(op, prim="READ_ONCE", dsts=(seen,), args=(place,))
    new = update.new(Local(seen))
    write: Stmt = replace(op, prim="WRITE_ONCE", dsts=(), args=(place, new))
    done = update.done(Local(seen))
    if done is not None:
        write = If(done, (write,), (), op.at)
    results = zip(op.dsts, update.results(Local(seen)), strict=False)
    return (read, write, *(Assign(dst, value, op.at) for dst, value in results))


def _forced(body: Body, target: Op, taken: int) -> Body:
    """Decide the first ``If`` behind ``target`` in its own block."""
    at = next((i for i, stmt in enumerate(body) if stmt is target), None)
    if at is None:
        return tuple(_forced_inside(stmt, target, taken) for stmt in body)
    for i in range(at, len(body)):
        stmt = body[i]
        if isinstance(stmt, If):
            side = stmt.then if taken else stmt.orelse
            return (*body[:i], *side, *body[i + 1 :])
    raise InputError(f"no branch follows {target.prim} in its block")


def _forced_inside(stmt: Stmt, target: Op, taken: int) -> Stmt:
    match stmt:
        case If(cond, then, orelse, at):
            return If(cond, _forced(then, target, taken), _forced(orelse, target, taken), at)
        case Block(body=inner):
            return replace(stmt, body=_forced(inner, target, taken))
        case Loop(inner, step):
            a, b = _forced(inner, target, taken), _forced(step, target, taken)
            return replace(stmt, body=a, step=b)
        case _:
            return stmt
