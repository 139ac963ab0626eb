"""Lowers calls: primitives, kernel functions, and the language's own words."""

from __future__ import annotations

import ast
from typing import Any

from mkold.ir.nodes import Call, CallRcu, Const, Expr, Local, Op, Select, locals_of
from mkold.ir.prims import Prim, Shape
from mkold.lang.expressions import Expressions, Into
from mkold.lang.kernel import KernelFunction, Primitive, Special
from mkold.lang.places import hint_of
from mkold.lang.types import BOOL, U64, Pointer, Record, Struct, Type, converts
from mkold.lang.values import Operand, Place, Results, Value, binary, truth

_TRUTHS = frozenset({"ok", "zero", "negative", "bit"})


class Calls(Expressions):
    """The part of the lowering that deals with calls."""

    def call(self, node: ast.Call, into: Into) -> Operand:
        """Lower a call, whatever is called."""
        if node.keywords:
            hint = "give the arguments in order"
            raise self.error(
                node.keywords[0], "keyword arguments are not in kernel Python", hint
            )
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                raise self.error(
                    arg, "unpacking with * is not in kernel Python", "name each argument"
                )
        found = self._callee(node.func)
        match found:
            case Primitive(row=row):
                return self._primitive(row, node, into)
            case KernelFunction():
                return self._kernel_call(found, node, into)
            case Special(name=name):
                return self._special(name, node)
        if found is min or found is max:
            return self._min_max(node, is_min=found is min)
        if found is bool:
            self._check_count(node, "bool", 1)
            return Value(truth(self.value(node.args[0])), BOOL)
        return self._refused_call(found, node)

    def _callee(self, func: ast.expr) -> Any:
        if isinstance(func, ast.Name) and func.id not in self.types:
            if func.id == self.name:
                raise self.error(func, "recursion is not in kernel Python", "write a loop")
            return self.lookup(func)
        if isinstance(func, ast.Attribute):
            base = self.static(func.value)
            if isinstance(base, type) and issubclass(base, Struct):
                return getattr(base, func.attr, None)
        return self.static(func)

    def _refused_call(self, found: Any, node: ast.Call) -> Operand:
        func = node.func
        if isinstance(func, ast.Attribute):
            base = self.static(func.value)
            if isinstance(base, type) and issubclass(base, Struct) and func.attr == "offset":
                return self._offset(base, node)
            if base is None or found is None:
                hint = "call a @kernel function and pass the pointer to it"
                raise self.error(node, "methods are not in kernel Python", hint)
        text = ast.unparse(func)
        if found is range:
            raise self.error(node, "range() is for loops only", "for i in range(n):")
        if callable(found):
            raise self.error(
                node, f"{text} is a Python function", f"decorate {text} with @kernel"
            )
        raise self.error(
            node, f"{text} can't be called", "call a primitive or a @kernel function"
        )

    def _offset(self, struct: type[Struct], node: ast.Call) -> Value:
        match node.args:
            case [ast.Constant(value=str() as name)]:
                if name in (f.name for f in struct.layout.fields):
                    self.structs[struct] = None
                    return Value(Const(struct.offset(name)))
                raise self.error(node, f"struct {struct.__name__} has no field {name}")
        raise self.error(node, "offset() takes one field's name in quotes")

    def _check_count(self, node: ast.Call, name: str, n: int) -> None:
        if len(node.args) != n:
            noun = "argument" if n == 1 else "arguments"
            raise self.error(node, f"{name} takes {n} {noun}, not {len(node.args)}")

    def _destinations(self, into: Into, hint: str, types: tuple[Type, ...]) -> tuple[str, ...]:
        """The locals that take a call's results: those given, else new ones."""
        given = (into,) if isinstance(into, str) else into
        if given is not None and len(given) == len(types):
            return given
        return tuple(self.temporary(hint, type_) for type_ in types)

    # Primitives.

    def _primitive(self, row: Prim, node: ast.Call, into: Into) -> Operand:
        self._check_count(node, row.name, row.n_args)
        args: list[Expr] = []
        type_: Type = U64
        what = ""
        rest = list(node.args)
        if row.lvalue:
            place = self._lvalue(row, rest.pop(0))
            args.append(place.address)
            type_, what = place.type, place.text
            if type_ == BOOL:
                type_ = U64  # memory holds any word
        for arg in rest:
            value = self.value(arg)
            self._check_stored(row, value, type_, arg)
            is_condition = row.shape in (Shape.BUG_ON, Shape.WARN_ON)
            args.append(truth(value) if is_condition else value.expr)
        if row.shape is Shape.LOAD_ANY or row.shape is Shape.POISON:
            self._check_constant_count(row, args[1], node)
        types = self._result_types(row, type_)
        hint = hint_of(what) if what else row.name.lower()
        dsts = self._destinations(into, hint, types)
        self.emit(Op(row.name, dsts, tuple(args), what, self.pos(node)))
        values = tuple(Value(Local(d), t) for d, t in zip(dsts, types, strict=True))
        return values[0] if len(values) == 1 else Results(values)

    def _lvalue(self, row: Prim, node: ast.expr) -> Place:
        place = self.place(node)
        is_srcu = row.shape in (Shape.SRCU_LOCK, Shape.SRCU_UNLOCK, Shape.SYNC_SRCU)
        if isinstance(place.type, Record) and is_srcu:
            return place
        if not isinstance(place.type, Pointer) and not hasattr(place.type, "name"):
            raise self.error(
                node,
                f"{row.name} works on one word, and {place.text} is {place.type}",
                "name a field or an element",
            )
        return place

    def _check_stored(self, row: Prim, value: Value, type_: Type, node: ast.expr) -> None:
        """A pointer's place takes that type of pointer, or a word that was computed."""
        both = isinstance(value.type, Pointer) and isinstance(type_, Pointer)
        if both and not converts(value.type, type_):
            hint = f"cast({type_}, ...) if that is meant"
            raise self.error(node, f"the place holds {type_}, and this is {value.type}", hint)
        del row

    def _check_constant_count(self, row: Prim, count: Expr, node: ast.Call) -> None:
        if row.shape is Shape.LOAD_ANY and any(True for _ in locals_of(count)):
            hint = "use an integer constant or a parameter(...)"
            raise self.error(node.args[1], f"the count of {row.name} is no constant", hint)

    def _result_types(self, row: Prim, type_: Type) -> tuple[Type, ...]:
        if row.n_dsts == 0:
            return ()
        if row.shape is Shape.TRY_CMPXCHG:
            return (BOOL, type_)
        if row.result in _TRUTHS or row.shape is Shape.WARN_ON:
            return (BOOL,)
        if row.lvalue and row.shape not in (Shape.SRCU_LOCK, Shape.LOAD_ANY):
            return (type_,)
        return (U64,)

    # Kernel functions.

    def _kernel_call(self, callee: KernelFunction, node: ast.Call, into: Into) -> Operand:
        self._check_count(node, callee.name, len(callee.params))
        args = []
        for arg, wanted in zip(node.args, callee.params, strict=True):
            value = self.value(arg)
            if not converts(value.type, wanted):
                hint = f"cast({wanted}, ...) if that is meant"
                raise self.error(
                    arg, f"{callee.name} wants {wanted} here, not {value.type}", hint
                )
            args.append(value.expr)
        self.callees[callee.key] = callee
        dsts = self._destinations(into, callee.name, callee.results)
        self.emit(Call(callee.key, dsts, tuple(args), self.pos(node)))
        values = tuple(Value(Local(d), t) for d, t in zip(dsts, callee.results, strict=True))
        return values[0] if len(values) == 1 else Results(values)

    # The language's own words.

    def _special(self, name: str, node: ast.Call) -> Operand:
        if name == "addr":
            self._check_count(node, name, 1)
            place = self.place(node.args[0])
            return Value(place.address, Pointer(place.type))
        if name == "cast":
            self._check_count(node, name, 2)
            type_ = self.type_of(node.args[0])
            return Value(self.value(node.args[1]).expr, type_)
        if name == "call_rcu":
            return self._call_rcu(node)
        raise self.error(node, f"{name} can't be called")

    def _call_rcu(self, node: ast.Call) -> Results:
        self._check_count(node, "call_rcu", 2)
        callee = self._callee(node.args[0])
        if not isinstance(callee, KernelFunction):
            raise self.error(node.args[0], "call_rcu wants a @kernel function here")
        if len(callee.params) != 1 or callee.results:
            reason = f"call_rcu runs a function of one word, and {callee.name} is another kind"
            raise self.error(node.args[0], reason, "def function(word: u64) -> None")
        argument = self.value(node.args[1])
        if not converts(argument.type, callee.params[0]):
            hint = f"cast({callee.params[0]}, ...) if that is meant"
            raise self.error(node.args[1], f"{callee.name} wants {callee.params[0]} here", hint)
        self.callees[callee.key] = callee
        self.emit(CallRcu(callee.key, argument.expr, self.pos(node)))
        return Results(())

    def _min_max(self, node: ast.Call, *, is_min: bool) -> Value:
        if len(node.args) < 2:
            raise self.error(node, "min and max take two or more words")
        best = self.atom(self.value(node.args[0]), "least" if is_min else "most")
        for arg in node.args[1:]:
            other = self.atom(self.value(arg), "other")
            pair = (best.expr, other.expr) if is_min else (other.expr, best.expr)
            chosen = Select(binary("ult", *pair), best.expr, other.expr)
            best = Value(chosen, self.unify(best.type, other.type, node))
            if arg is not node.args[-1]:
                best = self.atom(best, "best")
        return best
