"""Reads statements: assignments, branches, returns."""

from __future__ import annotations

import ast

from mkold.ir.nodes import Const, Op
from mkold.lang.meaning import arithmetic, control, function, places
from mkold.lang.meaning.values import Results, Value
from mkold.lang.python import loops
from mkold.lang.python.expressions import operator
from mkold.lang.python.frame import Frame
from mkold.lang.python.refuse import refusal
from mkold.lang.types.structs import Type, is_one_value


def statements(f: Frame, nodes: list[ast.stmt]) -> None:
    """Read statements into the current block."""
    for node in nodes:
        with f.nested(node):
            _statement(f, node)


def _statement(f: Frame, node: ast.stmt) -> None:
    match node:
        case ast.Assign():
            _assign(f, node)
        case ast.AnnAssign():
            _annotated(f, node)
        case ast.AugAssign():
            _augmented(f, node)
        case ast.If():
            _if(f, node)
        case ast.While():
            loops.while_loop(f, node, lambda nodes: statements(f, nodes))
        case ast.For():
            loops.for_loop(f, node, lambda nodes: statements(f, nodes))
        case ast.Return():
            _return(f, node)
        case ast.Break():
            control.leave(f.b, f.pos(node))
        case ast.Continue():
            control.again(f.b, f.pos(node))
        case ast.Pass():
            pass
        case ast.Assert():
            failed = arithmetic.refused(f.value(node.test), f.pos(node))
            f.b.emit(Op("BUG_ON", (), (failed.expr,), "", f.pos(node)))
        case ast.Expr():
            _expression(f, node)
        case _:
            raise f.error(node, *refusal(node))


def _expression(f: Frame, node: ast.Expr) -> None:
    match node.value:
        case ast.Constant(value=str()):
            return
        case ast.Call():
            f.operand(node.value)
        case ast.Yield() | ast.YieldFrom() | ast.Await():
            raise f.error(node, *refusal(node.value))
        case _:
            hint = "assign the value, or delete it"
            raise f.error(node, "this statement has no effect", hint)


# Assignments.


def _assign(f: Frame, node: ast.Assign) -> None:
    if len(node.targets) > 1:
        raise f.error(node, "a = b = ... is not in kernel Python", "use two statements")
    target = node.targets[0]
    if isinstance(target, ast.Tuple):
        _unpack(f, target, node.value)
    elif isinstance(target, ast.Name):
        _assign_local(f, target.id, node.value, node)
    else:
        value = f.value(node.value)
        _store(f, target, value, node)


def _assign_local(f: Frame, name: str, node: ast.expr, stmt: ast.stmt) -> None:
    value = f.value(node, into=_register(f, name))
    _check_known(f, name, stmt)
    places.assign(f.b, name, value, f.pos(stmt), in_memory=name in f.in_memory)


def _register(f: Frame, name: str) -> str | None:
    """``name``, if a primitive may write it directly."""
    return None if name in f.in_memory or name in f.b.slots else name


def _check_known(f: Frame, name: str, node: ast.AST) -> None:
    known = f.b.types.get(name)
    if known is not None and not is_one_value(known):
        raise f.error(node, f"{name} is {known}, which is not assigned whole", "field by field")


def _store(f: Frame, target: ast.expr, value: Value, node: ast.AST) -> None:
    """A plain store to the lvalue ``target``."""
    if not isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Call):
            f.place(target)  # byte(...): a place, but not for plain stores
        raise f.error(target, *refusal(target))
    places.store(f.b, f.place(target), value, f.pos(node))


def _annotated(f: Frame, node: ast.AnnAssign) -> None:
    if not isinstance(node.target, ast.Name):
        raise f.error(node.target, "only a local can be given a type here")
    name, type_, at = node.target.id, f.type_of(node.annotation), f.pos(node)
    if node.value is None:
        _declared(f, name, type_, node)
        return
    function.check_one_value(f.b, type_, f.pos(node.annotation))
    value = f.value(node.value, into=_register(f, name))
    places.declare(f.b, name, type_, at)
    places.assign(f.b, name, value, at, in_memory=name in f.in_memory)


def _declared(f: Frame, name: str, type_: Type, node: ast.AnnAssign) -> None:
    """A declaration without a value: of a local that lies in memory."""
    if is_one_value(type_) and name not in f.in_memory:
        raise f.error(node, "a declaration needs a value", f"{name}: {type_} = 0")
    places.declare(f.b, name, type_, f.pos(node))
    places.place_local(f.b, name, type_, f.pos(node))


def _unpack(f: Frame, target: ast.Tuple, node: ast.expr) -> None:
    n = len(target.elts)
    if isinstance(node, ast.Tuple):
        if len(node.elts) != n:
            raise f.error(node, f"{n} names, but {len(node.elts)} values")
        values = [_kept(f, f.value(item)) for item in node.elts]
    else:
        operand = f.operand(node, _direct(f, target))
        if not isinstance(operand, Results):
            raise f.error(node, f"{n} names, but one value")
        values = list(operand.values)
        if len(values) != n:
            raise f.error(node, f"{n} names, but the call returns {len(values)} values")
    for part, value in zip(target.elts, values, strict=True):
        if not isinstance(part, ast.Name):
            _store(f, part, value, part)
        elif part.id != "_":
            _check_known(f, part.id, part)
            in_memory = part.id in f.in_memory
            places.assign(f.b, part.id, value, f.pos(part), in_memory=in_memory)


def _kept(f: Frame, value: Value) -> Value:
    """``value`` as it is now, whatever is assigned before it is used."""
    return value if isinstance(value.expr, Const) else f.b.saved(value)


def _direct(f: Frame, target: ast.Tuple) -> tuple[str, ...] | None:
    """The locals that a call may write at once, if all targets are distinct registers."""
    names = [part.id for part in target.elts if isinstance(part, ast.Name)]
    real = [name for name in names if name != "_"]
    if len(names) != len(target.elts) or len(set(real)) != len(real):
        return None
    if any(_register(f, name) is None for name in real):
        return None
    return tuple(f.b.unique("unused") if name == "_" else name for name in names)


def _augmented(f: Frame, node: ast.AugAssign) -> None:
    op, at = operator(f, node.op, node), f.pos(node)
    if isinstance(node.target, ast.Name):
        name = node.target.id
        if name not in f.b.types:
            raise f.error(node, f"{name} is read before it is assigned")
        places.update(f.b, name, op, f.value(node.value), at)
        return
    place = f.place(node.target)
    old = places.read(f.b, place)
    new = arithmetic.operate(f.b, op, old, f.value(node.value), at)
    places.store(f.b, place, new, at)


# Flow.


def _if(f: Frame, node: ast.If) -> None:
    tests = []
    last: ast.If = node
    while True:
        tests.append(_arm(f, last))
        match last.orelse:
            case [ast.If() as inner]:
                last = inner
            case _:
                break
    control.chain(f.b, tests, lambda: statements(f, last.orelse), f.pos(node))


def _arm(f: Frame, node: ast.If) -> control.Arm:
    return control.Arm(
        lambda: f.value(node.test), lambda: statements(f, node.body), f.pos(node.test)
    )


def _return(f: Frame, node: ast.Return) -> None:
    at = f.pos(node)
    match node.value:
        case None:
            values: list[Value] = []
        case ast.Tuple(elts=parts):
            if len(parts) != len(f.b.results):
                function.check_results(f.b, len(parts), at)
            values = [f.value(part) for part in parts]
        case _ if len(f.b.results) > 1:
            operand = f.operand(node.value)
            several = isinstance(operand, Results)
            values = list(operand.values) if isinstance(operand, Results) else []
            function.check_results(f.b, len(values) if several else 1, at)
        case _:
            function.check_results(f.b, 1, at)
            values = [f.value(node.value)]
    function.give(f.b, values, at)
