"""Lowers expressions: arithmetic, comparison, short circuits.

Rules
-----
* A place read in an expression is a plain load, emitted in evaluation order.
* ``and``, ``or`` and ``a if c else b`` become pure expressions if their parts touch no
  memory, else branches; so nothing is read that Python would not have read.
"""

from __future__ import annotations

import ast

from mkold.ir.nodes import Assign, If, Local, Select, Stmt
from mkold.lang.places import Places
from mkold.lang.refuse import OPERATORS, REFUSED_COMPARISONS, REFUSED_OPERATORS, refusal
from mkold.lang.types import (
    BOOL,
    U64,
    Pointer,
    Type,
    n_words,
    same,
)
from mkold.lang.values import (
    ONE,
    ZERO,
    Operand,
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


class Expressions(Places):
    """The part of the lowering that deals with expressions."""

    def operand(self, node: ast.expr, into: str | None = None) -> Operand:
        """Lower ``node`` to a word or to a place."""
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name():
                return self.named(node)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Subscript():
                return self.subscript(node)
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

    def call(self, node: ast.Call, into: Into) -> Operand:
        """Lower a call; defined with the other calls in ``calls``."""
        raise NotImplementedError

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
