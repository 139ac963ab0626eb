"""Checks a function against kernel Python and lowers it to the intermediate form.

Rules
-----
* Statements keep their order and their positions; a loop over ``range`` counts in a local
  of its own, so that the body may assign to the loop's variable, as in Python.
* A callee must be defined before its caller, so there is no recursion.
* What Python would find out at run time (a name read before it is assigned, a path
  without ``return``) is an error here.

Known limits: ``range`` must not wrap around; with a negative step it compares signed.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

from mkold.ir.flow import falls_through, unassigned
from mkold.ir.nodes import (
    Assign,
    Break,
    Const,
    Continue,
    Expr,
    Function,
    If,
    Local,
    Loop,
    Op,
    Return,
    Stmt,
)
from mkold.lang.calls import Calls
from mkold.lang.kernel import Hook, KernelFunction
from mkold.lang.refuse import OPERATORS, REFUSED_OPERATORS, refusal
from mkold.lang.source import Source, find
from mkold.lang.types import BOOL, U64, Pointer, Record, Repeat, Type, converts
from mkold.lang.values import Place, Results, Value, binary, negate, truth, unary, word


def lower(function: Callable[..., Any]) -> KernelFunction:
    """Check and lower one Python function.

    Raises
    ------
    SourceError : something in it is outside the subset
    """
    source, node = find(function)
    statements = _Statements(node.name, source, function.__globals__, _locals(function))
    return statements.function(function, node)


def lower_hook(function: Callable[..., Any]) -> Hook:
    """Check a signature that somebody else defines.

    Raises
    ------
    SourceError : it is outside the subset, or there is a body
    """
    source, node = find(function)
    return _Statements(node.name, source, function.__globals__, set()).hook(function, node)


def _locals(function: Callable[..., Any]) -> set[str]:
    """Every name the function assigns, by Python's own account."""
    code = function.__code__
    return {*code.co_varnames, *code.co_cellvars}


class _Statements(Calls):
    """The part of the lowering that deals with statements, and the function as a whole."""

    def __init__(
        self, name: str, source: Source, scope: dict[str, Any], names: set[str]
    ) -> None:
        super().__init__(name, source, scope, names)
        self.results: tuple[Type, ...] = ()
        self._loops = 0

    # The function.

    def function(self, wrapped: Callable[..., Any], node: ast.FunctionDef) -> KernelFunction:
        """Lower the whole function."""
        params = self._params(node)
        self.results = self._result_types_of(node)
        with self.block() as body:
            for stmt in node.body:
                self.statement(stmt)
        lowered = Function(
            f"{wrapped.__module__}:{node.name}",
            tuple(params),
            tuple(body),
            len(self.results),
            {name: str(type_) for name, type_ in self.types.items()},
            ast.get_docstring(node) or "",
            self.pos(node),
        )
        self._check_flow(lowered, node)
        return KernelFunction(
            wrapped,
            lowered,
            tuple(params.values()),
            self.results,
            self.callees,
            self.parameters,
            self.structs,
        )

    def hook(self, wrapped: Callable[..., Any], node: ast.FunctionDef) -> Hook:
        """Check a signature; a docstring, ``...`` or ``pass`` may follow."""
        params = self._params(node)
        results = self._result_types_of(node)
        for stmt in node.body:
            match stmt:
                case ast.Pass() | ast.Expr(value=ast.Constant(value=str() | builtins.Ellipsis)):
                    pass
                case _:
                    hint = "an architecture's own function is the body"
                    raise self.error(stmt, f"the hook {node.name} has a body", hint)
        lowered = Function(
            f"{wrapped.__module__}:{node.name}", tuple(params), (), len(results),
            {name: str(type_) for name, type_ in params.items()}, at=self.pos(node),
        )  # fmt: skip
        return Hook(wrapped, lowered, tuple(params.values()), results, {}, {}, ())

    def _params(self, node: ast.FunctionDef) -> dict[str, Type]:
        args = node.args
        extra = [*args.posonlyargs, *args.kwonlyargs]
        extra += [a for a in (args.vararg, args.kwarg) if a is not None]
        if extra:
            hint = "a kernel function has plain parameters only"
            raise self.error(
                extra[0], f"the parameter {extra[0].arg} is of a special kind", hint
            )
        for default in args.defaults:
            raise self.error(
                default, "a default value is not in kernel Python", "pass every argument"
            )
        params: dict[str, Type] = {}
        for arg in args.args:
            if arg.annotation is None:
                hint = f"{arg.arg}: u64, or Ptr[...]"
                raise self.error(arg, f"the parameter {arg.arg} has no type", hint)
            params[arg.arg] = self._one_word(arg.annotation)
        self.types.update(params)
        return params

    def _one_word(self, node: ast.expr) -> Type:
        type_ = self.type_of(node)
        if isinstance(type_, Record | Repeat):
            raise self.error(node, f"{type_} is not one word", f"pass Ptr[{ast.unparse(node)}]")
        return type_

    def _result_types_of(self, node: ast.FunctionDef) -> tuple[Type, ...]:
        returns = node.returns
        if returns is None or (isinstance(returns, ast.Constant) and returns.value is None):
            return ()
        match returns:
            case ast.Subscript(value=ast.Name(id="tuple"), slice=inner):
                items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return tuple(self._one_word(item) for item in items)
        return (self._one_word(returns),)

    def _check_flow(self, lowered: Function, node: ast.FunctionDef) -> None:
        found = unassigned(lowered)
        if found is not None:
            name, pos = found
            reason = f"{name} may be read before it is assigned"
            hint = f"assign {name} on every path that leads here"
            raise self.source.error_at(pos or self.pos(node), reason, hint)
        if self.results and falls_through(lowered.body):
            hint = "every path needs one; for an endless loop write while True"
            raise self.error(node.body[-1], f"{node.name} can end without a return", hint)

    # Statements.

    def statement(self, node: ast.stmt) -> None:
        """Lower one statement into the current block."""
        match node:
            case ast.Assign():
                self._assign(node)
            case ast.AnnAssign():
                self._annotated(node)
            case ast.AugAssign():
                self._augmented(node)
            case ast.If():
                self._if(node)
            case ast.While():
                self._while(node)
            case ast.For():
                self._for(node)
            case ast.Return():
                self._return(node)
            case ast.Break():
                self.emit(Break(self.pos(node)))
            case ast.Continue():
                self.emit(Continue(self.pos(node)))
            case ast.Pass():
                pass
            case ast.Assert():
                failed = negate(self.value(node.test))
                self.emit(Op("BUG_ON", (), (failed.expr,), "", self.pos(node)))
            case ast.Expr():
                self._expression(node)
            case _:
                raise self.error(node, *refusal(node))

    def _expression(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        if not isinstance(node.value, ast.Call):
            if type(node.value) in (ast.Yield, ast.YieldFrom, ast.Await):
                raise self.error(node, *refusal(node.value))
            raise self.error(
                node, "this statement has no effect", "assign the value, or delete it"
            )
        self.operand(node.value)

    def _assign(self, node: ast.Assign) -> None:
        if len(node.targets) > 1:
            raise self.error(node, "a = b = ... is not in kernel Python", "use two statements")
        target = node.targets[0]
        if isinstance(target, ast.Tuple):
            self._unpack(target, node.value)
        elif isinstance(target, ast.Name):
            self._assign_local(target, node.value, None, node)
        else:
            self._store(target, node)

    def _store(self, target: ast.expr, node: ast.Assign) -> None:
        value = self.value(node.value)
        self.store(target, value, node)

    def store(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """A plain store to the lvalue ``target``."""
        if not isinstance(target, ast.Attribute | ast.Subscript):
            raise self.error(target, *refusal(target))
        place = self.place(target)
        self.store_to(place, value, target, node)

    def store_to(self, place: Place, value: Value, target: ast.AST, node: ast.AST) -> None:
        """A plain store to ``place``."""
        if isinstance(place.type, Record | Repeat):
            raise self.error(target, f"{place.text} is {place.type}, which is not one word")
        both = isinstance(value.type, Pointer) and isinstance(place.type, Pointer)
        if both and not converts(value.type, place.type):
            hint = f"cast({place.type}, ...) if that is meant"
            raise self.error(
                node, f"{place.text} holds {place.type}, and this is {value.type}", hint
            )
        args = (place.address, value.expr)
        self.emit(Op("store", (), args, place.text, self.pos(node)))

    def _assign_local(
        self, target: ast.Name, value: ast.expr, declared: Type | None, node: ast.AST
    ) -> None:
        name = target.id
        n_before = len(self._blocks[-1])
        result = self.value(value, into=name)
        type_ = declared or result.type
        if declared is not None and not converts(result.type, declared):
            is_null = result.expr == Const(0)
            hint = f"cast({declared}, ...) if that is meant"
            if not is_null:
                raise self.error(
                    value, f"{name} is {declared}, and this is {result.type}", hint
                )
        self.declare(name, type_, node)
        wrote = len(self._blocks[-1]) > n_before and result.expr == Local(name)
        if not wrote:
            self.emit(Assign(name, result.expr, self.pos(node)))

    def _annotated(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            raise self.error(node.target, "only a local can be given a type here")
        type_ = self._one_word(node.annotation)
        if node.value is None:
            hint = f"{node.target.id}: {type_} = 0"
            raise self.error(node, "a declaration needs a value", hint)
        self._assign_local(node.target, node.value, type_, node)

    def _unpack(self, target: ast.Tuple, value: ast.expr) -> None:
        n = len(target.elts)
        if isinstance(value, ast.Tuple):
            if len(value.elts) != n:
                raise self.error(value, f"{n} names, but {len(value.elts)} values")
            values = [self._saved(self.value(item)) for item in value.elts]
        else:
            into = self._direct(target)
            if isinstance(value, ast.Call):
                operand = self.call(value, into)
            else:
                operand = self.operand(value)
            if not isinstance(operand, Results):
                raise self.error(value, f"{n} names, but one value")
            values = list(operand.values)
            if len(values) != n:
                raise self.error(value, f"{n} names, but the call returns {len(values)} values")
        for part, item in zip(target.elts, values, strict=True):
            if isinstance(part, ast.Name):
                if part.id == "_":
                    continue
                self.declare(part.id, item.type, part)
                if item.expr != Local(part.id):
                    self.emit(Assign(part.id, item.expr, self.pos(part)))
            else:
                self.store(part, item, part)

    def _direct(self, target: ast.Tuple) -> tuple[str, ...] | None:
        """The locals that a call may write at once, if all targets are distinct names."""
        names = [part.id for part in target.elts if isinstance(part, ast.Name)]
        real = [name for name in names if name != "_"]
        if len(names) != len(target.elts) or len(set(real)) != len(real):
            return None
        return tuple(self.temporary("unused", U64) if name == "_" else name for name in names)

    def _saved(self, value: Value) -> Value:
        if isinstance(value.expr, Const):
            return value
        name = self.temporary("value", value.type)
        self.emit(Assign(name, value.expr))
        return Value(Local(name), value.type)

    def _augmented(self, node: ast.AugAssign) -> None:
        kind = type(node.op)
        if kind in REFUSED_OPERATORS:
            raise self.error(node, *REFUSED_OPERATORS[kind])
        op = OPERATORS[kind]
        if isinstance(node.target, ast.Name):
            name = node.target.id
            if name not in self.types:
                raise self.error(node, f"{name} is read before it is assigned")
            old = Value(Local(name), self.types[name])
            new = self.arithmetic(op, old, self.value(node.value), node)
            self.declare(name, new.type if new.type != BOOL else old.type, node)
            self.emit(Assign(name, new.expr, self.pos(node)))
            return
        place = self.place(node.target)
        if isinstance(place.type, Record | Repeat):
            raise self.error(
                node.target, f"{place.text} is {place.type}, which is not one word"
            )
        old = self.read(place, node.target)
        new = self.arithmetic(op, old, self.value(node.value), node)
        self.store_to(place, new, node.target, node)

    def _if(self, node: ast.If) -> None:
        cond = self.value(node.test)
        then, orelse = self._body(node.body), self._body(node.orelse)
        self.emit(If(cond.expr, then, orelse, self.pos(node.test)))

    def _body(self, body: list[ast.stmt]) -> tuple[Stmt, ...]:
        with self.block() as stmts:
            for stmt in body:
                self.statement(stmt)
        return tuple(stmts)

    def _while(self, node: ast.While) -> None:
        if node.orelse:
            raise self.error(node.orelse[0], "else after a loop is not in kernel Python")
        with self.block() as stmts:
            cond = self.value(node.test)
            if not (isinstance(cond.expr, Const) and cond.expr.value):
                leave = (Break(self.pos(node.test)),)
                self.emit(If(negate(cond).expr, leave, (), self.pos(node.test)))
            for stmt in node.body:
                self.statement(stmt)
        self.emit(Loop(tuple(stmts), (), self.pos(node)))

    def _for(self, node: ast.For) -> None:
        if node.orelse:
            raise self.error(node.orelse[0], "else after a loop is not in kernel Python")
        if not isinstance(node.target, ast.Name):
            raise self.error(node.target, "a loop has one variable")
        start, stop, step = self._range(node.iter)
        name = node.target.id
        at = self.pos(node.iter)
        counter = self.temporary(name, U64)
        self.emit(Assign(counter, start.expr, at))
        if not isinstance(stop.expr, Const):
            stop = self._saved(stop)
        self.declare(name, U64, node.target)
        with self.block() as stmts:
            more = self._more(Local(counter), stop.expr, step)
            self.emit(If(unary("lnot", more), (Break(at),), (), at))
            self.emit(Assign(name, Local(counter), at))
            for stmt in node.body:
                self.statement(stmt)
        advance = Assign(counter, binary("add", Local(counter), word(step)), at)
        self.emit(Loop(tuple(stmts), (advance,), self.pos(node)))

    def _more(self, counter: Expr, stop: Expr, step: int) -> Expr:
        if step > 0:
            return binary("ult", counter, stop)
        return binary("slt", stop, counter)

    def _range(self, node: ast.expr) -> tuple[Value, Value, int]:
        is_range = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and self.static(node.func) in (None, range)
            and node.func.id == "range"
            and not node.keywords
        )
        if not is_range:
            raise self.error(node, "a for loop runs over range(...) only", "for i in range(n):")
        assert isinstance(node, ast.Call)
        if not 1 <= len(node.args) <= 3:
            raise self.error(node, "range takes one to three words")
        values = [self.value(arg) for arg in node.args]
        if len(values) == 1:
            return Value(Const(0)), values[0], 1
        step = 1
        if len(values) == 3:
            given = values[2].expr
            if not isinstance(given, Const) or given.value == 0:
                hint = "write a while loop for another step"
                raise self.error(
                    node.args[2], "the step of a range is a constant other than 0", hint
                )
            step = given.value
            if step >= 1 << 63:
                step -= 1 << 64
        return values[0], values[1], step

    def _return(self, node: ast.Return) -> None:
        n = len(self.results)
        if node.value is None:
            parts: list[ast.expr] = []
        elif isinstance(node.value, ast.Tuple):
            parts = node.value.elts
        else:
            parts = [node.value]
        if len(parts) == 1 and n > 1 and node.value is not None:
            operand = self.operand(node.value)
            if isinstance(operand, Results) and len(operand.values) == n:
                exprs = tuple(v.expr for v in operand.values)
                self.emit(Return(exprs, self.pos(node)))
                return
        if len(parts) != n:
            declared = "nothing" if n == 0 else f"{n} value{'s' if n > 1 else ''}"
            hint = "declare what comes back: def f(...) -> u64"
            raise self.error(node, f"the function returns {declared}, this {len(parts)}", hint)
        values = []
        for part, wanted in zip(parts, self.results, strict=True):
            value = self.value(part)
            if not converts(value.type, wanted):
                hint = f"cast({wanted}, ...) if that is meant"
                raise self.error(
                    part, f"the function returns {wanted}, and this is {value.type}", hint
                )
            values.append(truth(value) if wanted == BOOL else value.expr)
        self.emit(Return(tuple(values), self.pos(node)))
