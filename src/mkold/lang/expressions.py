"""Lowers expressions: places, loads, arithmetic, comparison, short circuits.

Rules
-----
* A place read in an expression is a plain load, emitted in evaluation order.
* ``and``, ``or`` and ``a if c else b`` become pure expressions if their parts touch no
  memory, else branches; so nothing is read that Python would not have read.
"""

from __future__ import annotations

import ast
import enum
import re
from types import ModuleType
from typing import Any

from mkold.base.errors import InputError
from mkold.ir.nodes import Assign, Const, Expr, If, Local, Op, Select, Stmt
from mkold.lang.annotations import AnnotationError, from_syntax
from mkold.lang.frame import Frame
from mkold.lang.kernel import KernelFunction, Parameter, Primitive, Special
from mkold.lang.refuse import OPERATORS, REFUSED_COMPARISONS, REFUSED_OPERATORS, refusal
from mkold.lang.types import (
    BOOL,
    NULL_TYPE,
    U64,
    Pointer,
    Record,
    Repeat,
    Struct,
    Type,
    n_words,
    same,
)
from mkold.lang.values import (
    ONE,
    ZERO,
    Operand,
    Place,
    Results,
    Value,
    binary,
    is_atom,
    negate,
    truth,
    unary,
    word,
)

_COMPARE: dict[type[ast.cmpop], tuple[str, bool]] = {  # operator, operands swapped
    ast.Eq: ("eq", False),
    ast.NotEq: ("ne", False),
    ast.Lt: ("ult", False),
    ast.LtE: ("ule", False),
    ast.Gt: ("ult", True),
    ast.GtE: ("ule", True),
}


# The locals that the results of a call are about to be assigned to, if there are such.
Into = str | tuple[str, ...] | None


class Expressions(Frame):
    """The part of the lowering that deals with expressions."""

    def value(self, node: ast.expr, into: str | None = None) -> Value:
        """Lower ``node`` to a word; memory it names is read (plain).

        ``into`` is the local that the word is about to be assigned to; a single
        primitive then writes it without a temporary.
        """
        return self.read(self.operand(node, into), node, into)

    def read(self, operand: Operand, node: ast.expr, into: str | None = None) -> Value:
        """The word that ``operand`` stands for."""
        match operand:
            case Value():
                return operand
            case Results(values=values):
                if not values:
                    raise self.error(node, "this call returns nothing, and a value is needed")
                hint = "receive them: a, b = f(...)"
                raise self.error(node, f"this call returns {len(values)} values", hint)
            case Place(address=address, type=type_, text=text):
                if isinstance(type_, Record | Repeat):
                    kind = "struct" if isinstance(type_, Record) else "array"
                    raise self.error(
                        node,
                        f"{text} is {_a(kind)} in memory, and a word is needed",
                        "name a field or an element, or take addr(...)",
                    )
                found = U64 if type_ == BOOL else type_  # memory holds any word
                dst = self.destination(into, _hint_of(text), found)
                self.emit(Op("load", (dst,), (address,), text, self.pos(node)))
                return Value(Local(dst), found)

    def operand(self, node: ast.expr, into: str | None = None) -> Operand:
        """Lower ``node`` to a word or to a place."""
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.Compare():
                return self._compare(node)
            case ast.BoolOp():
                return self._bool_op(node, into)
            case ast.IfExp():
                return self._if_exp(node, into)
            case ast.Call():
                return self.call(node, into)
            case _:
                raise self.error(node, *refusal(node))

    def place(self, node: ast.expr) -> Place:
        """Lower ``node``, which must be an lvalue.

        Raises
        ------
        SourceError : it is a value; the hint says how to name the place
        """
        operand = self.operand(node)
        if isinstance(operand, Place):
            return operand
        text = ast.unparse(node)
        hint = "a place is p.field, p[i] or p.value"
        if isinstance(operand, Value) and isinstance(operand.type, Pointer):
            hint = f"write {text}.value for the word it points to"
        raise self.error(node, f"{text} is a value, and a place in memory is needed", hint)

    def call(self, node: ast.Call, into: Into) -> Operand:
        """Lower a call; defined with the other calls in ``calls``."""
        raise NotImplementedError

    # Names and constants.

    def _constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, bool):
            return Value(Const(int(node.value)), BOOL)
        if isinstance(node.value, int):
            return Value(self._checked_word(node.value, node))
        if node.value is None:
            raise self.error(node, "None is not in kernel Python", "use NULL, or 0")
        kind = type(node.value).__name__
        hint = "kernel Python has 64-bit words only"
        raise self.error(node, f"a value of type {kind} is not in kernel Python", hint)

    def _checked_word(self, value: int, node: ast.expr, symbol: str = "") -> Const:
        if not -(1 << 63) <= value < 1 << 64:
            raise self.error(node, f"the constant {value} does not fit a 64-bit word")
        return Const(word(value).value, symbol)

    def _name(self, node: ast.Name) -> Operand:
        if node.id in self.types:
            return Value(Local(node.id), self.types[node.id])
        if node.id in self.assigned:
            raise self.error(node, f"{node.id} is read before it is assigned")
        return self.object(self.lookup(node), node)

    def object(self, found: Any, node: ast.expr) -> Operand:
        """The value that a Python object of the module stands for."""
        match found:
            case bool():
                return Value(Const(int(found)), BOOL)
            case enum.IntEnum() | int():
                return Value(self._checked_word(int(found), node, ast.unparse(node)))
            case Parameter(expr=expr):
                return Value(expr)
            case Special(name="NULL"):
                return Value(Const(0), NULL_TYPE)
        text = ast.unparse(node)
        hint = "names are locals, integer constants, parameter(...), Structs, functions"
        if isinstance(found, Primitive | KernelFunction | Special):
            raise self.error(node, f"{text} is a function, and a value is needed", "call it")
        kind = type(found).__name__
        raise self.error(node, f"{text} is a Python {kind}, which has no value here", hint)

    # Places.

    def _attribute(self, node: ast.Attribute) -> Operand:
        found = self.static(node.value)
        if isinstance(found, ModuleType) or (
            isinstance(found, type) and issubclass(found, enum.IntEnum)
        ):
            if not hasattr(found, node.attr):
                raise self.error(node, f"{ast.unparse(node.value)} has no {node.attr}")
            return self.object(getattr(found, node.attr), node)
        if isinstance(found, type) and issubclass(found, Struct):
            if node.attr == "size":
                return Value(word(found.size))
            hint = f'{found.__name__}.size and {found.__name__}.offset("field") are constants'
            raise self.error(node, f"{found.__name__} is a struct, not a place", hint)
        base = self.operand(node.value)
        text = ast.unparse(node)
        if isinstance(base, Place) and isinstance(base.type, Record):
            return self._field(base.address, base.type, node, text)
        pointer = self.read(base, node.value)
        if not isinstance(pointer.type, Pointer) or pointer.type.target is None:
            raise self.error(
                node,
                f"{ast.unparse(node.value)} is {_a(str(pointer.type))}, which has no fields",
                "declare it Ptr[SomeStruct], or cast(Ptr[SomeStruct], ...)",
            )
        target = pointer.type.target
        if isinstance(target, Record) and not (
            node.attr == "value" and not _has_field(target.struct, "value")
        ):
            return self._field(pointer.expr, target, node, text)
        if node.attr != "value":
            hint = "p.value is the word it points to, p[i] the i-th from there"
            raise self.error(node, f"{ast.unparse(node.value)} points to {target}", hint)
        return Place(pointer.expr, target, text)

    def _field(self, base: Expr, record: Record, node: ast.Attribute, text: str) -> Place:
        try:
            names = [f.name for f in record.struct.layout.fields]
        except InputError as error:  # the struct itself is wrong
            raise self.error(node, str(error)) from None
        if node.attr not in names:
            reason = f"struct {record} has no field {node.attr}"
            raise self.error(node, reason, f"fields: {', '.join(names)}")
        type_, offset = record.struct.field(node.attr)
        return Place(binary("add", base, word(offset)), type_, text)

    def _subscript(self, node: ast.Subscript) -> Place:
        if isinstance(node.slice, ast.Slice):
            raise self.error(node.slice, *refusal(node.slice))
        base = self.operand(node.value)
        text = ast.unparse(node)
        if isinstance(base, Place) and isinstance(base.type, Repeat):
            element, start = base.type.element, base.address
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
                index, n = node.slice.value, base.type.n
                if not 0 <= index < n:
                    raise self.error(
                        node, f"{text} is outside {base.text}, which has {n} elements"
                    )
        else:
            pointer = self.read(base, node.value)
            if not isinstance(pointer.type, Pointer) or pointer.type.target is None:
                raise self.error(
                    node,
                    f"{ast.unparse(node.value)} is {_a(str(pointer.type))}, not an array",
                    "declare it Ptr[u64], or cast(Ptr[u64], ...)",
                )
            element, start = pointer.type.target, pointer.expr
        index_value = self.value(node.slice)
        step = binary("mul", index_value.expr, word(n_words(element)))
        return Place(binary("add", start, step), element, text)

    # Arithmetic.

    def _unary(self, node: ast.UnaryOp) -> Value:
        a = self.value(node.operand)
        match node.op:
            case ast.Not():
                return negate(a)
            case ast.USub():
                return Value(unary("neg", a.expr))
            case ast.Invert():
                return Value(unary("not", a.expr))
            case _:
                return Value(a.expr)

    def _binary(self, node: ast.BinOp) -> Value:
        kind = type(node.op)
        if kind in REFUSED_OPERATORS:
            raise self.error(node, *REFUSED_OPERATORS[kind])
        a = self.value(node.left)
        b = self.value(node.right)
        return self.arithmetic(OPERATORS[kind], a, b, node)

    def arithmetic(self, op: str, a: Value, b: Value, node: ast.AST) -> Value:
        """``a op b``; adding to a pointer moves it by elements."""
        if op in ("add", "sub") and isinstance(a.type, Pointer):
            if isinstance(b.type, Pointer):
                if op == "add":
                    raise self.error(node, "the sum of two pointers means nothing")
                size = word(self._step(a.type, node))
                return Value(binary("udiv", binary("sub", a.expr, b.expr), size))
            step = binary("mul", b.expr, word(self._step(a.type, node)))
            return Value(binary(op, a.expr, step), a.type)
        if op == "add" and isinstance(b.type, Pointer):
            return self.arithmetic(op, b, a, node)
        type_: Type = U64
        if op in ("and", "or", "xor") and a.type == BOOL and b.type == BOOL:
            type_ = BOOL
        return Value(binary(op, a.expr, b.expr), type_)

    def _step(self, pointer: Pointer, node: ast.AST) -> int:
        if pointer.target is None:
            raise self.error(node, "NULL can't be moved")
        return n_words(pointer.target)

    def _compare(self, node: ast.Compare) -> Value:
        left = self.value(node.left)
        if len(node.ops) == 1:
            return self._compare_one(left, node.ops[0], self.value(node.comparators[0]), node)
        *first, last = range(len(node.ops))
        result: Value | None = None
        for i in (*first, last):
            if result is None or not self._has_effects(node.comparators[i]):
                right = self.atom(self.value(node.comparators[i]), "bound")
                one = self._compare_one(left, node.ops[i], right, node)
                joined = binary("and", result.expr, one.expr) if result else one.expr
                result = Value(joined, BOOL)
            else:
                hint = "write it with and"
                raise self.error(node, "a chain of comparisons may read memory once only", hint)
            left = right
        assert result is not None
        return result

    def _compare_one(self, a: Value, op: ast.cmpop, b: Value, node: ast.AST) -> Value:
        kind = type(op)
        if kind in REFUSED_COMPARISONS:
            raise self.error(node, *REFUSED_COMPARISONS[kind])
        name, swapped = _COMPARE[kind]
        x, y = (b.expr, a.expr) if swapped else (a.expr, b.expr)
        return Value(binary(name, x, y), BOOL)

    # Short circuits.

    def _has_effects(self, node: ast.expr) -> bool:
        """Whether lowering ``node`` emits statements; leaves no trace."""
        with self.trial():
            with self.block() as stmts:
                self.value(node)
            return bool(stmts)

    def _bool_op(self, node: ast.BoolOp, into: str | None) -> Value:
        is_and = isinstance(node.op, ast.And)
        result = self.value(node.values[0])
        for part in node.values[1:]:
            with self.block() as stmts:
                value = self.value(part)
            if not stmts:
                op = "and" if is_and else "or"
                result = Value(binary(op, truth(result), truth(value)), BOOL)
                continue
            dst = self.temporary("and" if is_and else "or", BOOL)
            stmts.append(Assign(dst, truth(value), self.pos(part)))
            other = (Assign(dst, ZERO if is_and else ONE, self.pos(part)),)
            self._branch(result, tuple(stmts), other, node, swap=not is_and)
            result = Value(Local(dst), BOOL)
        return result

    def _if_exp(self, node: ast.IfExp, into: str | None) -> Value:
        cond = self.value(node.test)
        with self.block() as then:
            a = self.value(node.body)
        with self.block() as orelse:
            b = self.value(node.orelse)
        type_ = self.unify(a.type, b.type, node)
        if not then and not orelse:
            return Value(Select(cond.expr, a.expr, b.expr), type_)
        dst = self.temporary("choice", type_)
        then.append(Assign(dst, a.expr, self.pos(node.body)))
        orelse.append(Assign(dst, b.expr, self.pos(node.orelse)))
        self._branch(cond, tuple(then), tuple(orelse), node)
        return Value(Local(dst), type_)

    def _branch(
        self,
        cond: Value,
        then: tuple[Stmt, ...],
        orelse: tuple[Stmt, ...],
        node: ast.AST,
        *,
        swap: bool = False,
    ) -> None:
        if swap:
            then, orelse = orelse, then
        self.emit(If(cond.expr, then, orelse, self.pos(node)))

    def unify(self, a: Type, b: Type, node: ast.AST) -> Type:
        """The type of a value that is one of two."""
        if same(a, b):
            return a if a == b or isinstance(a, Pointer) else U64
        if isinstance(a, Pointer) and isinstance(b, Pointer):
            if a.target is None:
                return b
            if b.target is None:
                return a
            raise self.error(node, f"one side is {a}, the other {b}", "cast one of them")
        return U64

    def atom(self, value: Value, hint: str) -> Value:
        """``value`` in a form that may be written twice."""
        if is_atom(value.expr):
            return value
        dst = self.temporary(hint, value.type)
        self.emit(Assign(dst, value.expr))
        return Value(Local(dst), value.type)

    # Names of the module.

    def static(self, node: ast.expr) -> Any:
        """The Python object that a name or a dotted name means, or ``None``."""
        if isinstance(node, ast.Name):
            if node.id in self.types or node.id in self.assigned:
                return None
            return self.scope.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            if isinstance(base, ModuleType):
                return getattr(base, node.attr, None)
        return None

    def type_of(self, node: ast.expr) -> Type:
        """The type that an annotation means.

        Raises
        ------
        SourceError : it means none
        """
        try:
            return from_syntax(node, self.scope)
        except AnnotationError as error:
            where = error.node if isinstance(error.node, ast.expr) else node
            if not hasattr(where, "lineno") or not _within(where, node):
                where = node
            raise self.error(where, error.reason, error.hint) from None


def _within(inner: ast.AST, outer: ast.AST) -> bool:
    return any(node is inner for node in ast.walk(outer))


def _has_field(struct: type[Struct], name: str) -> bool:
    return any(f.name == name for f in struct.layout.fields)


def _hint_of(text: str) -> str:
    """A short name for what was read from the place ``text``: its last field."""
    outside = re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", text)
    names = [part for part in re.findall(r"[A-Za-z_]\w*", outside) if part != "value"]
    return names[-1] if names else "word"


def _a(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"
