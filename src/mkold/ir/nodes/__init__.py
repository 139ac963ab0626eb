"""Expressions, statements and functions of the intermediate form.

``words``        words and their arithmetic
``expressions``  what reads locals and constants only
``statements``   what acts; functions

Rules
-----
* One value type: a 64-bit word. Arithmetic wraps. Signedness sits in the operator
  (``ult`` or ``slt``), never in the value. Truth is any non-zero word; comparisons and
  ``lnot`` give 0 or 1. Division by zero gives 0; a shift by 64 or more gives 0 (``ashr``:
  the sign).
* Memory is one flat array of words; a pointer is a word address, 0 is NULL. An object in
  memory is as wide as a word or narrower; locals are words.
* Expressions are pure: they read locals and constants only. Everything that touches
  memory, orders memory or may block is an ``Op`` statement naming a row of
  ``mkold.ir.prims``.
* Control flow is structured. ``Loop`` runs ``body`` then ``step`` for ever; ``Continue``
  jumps to ``step``, ``Break`` leaves. Without a label they mean the innermost loop; a
  label names any ``Block`` or ``Loop`` around them, so every reducible flow (C's ``goto``,
  ``switch``, ``do``) has a form without a statement written twice. A function ends in
  ``Return`` on every path that can end.
* A local is assigned before it is read on every path.
* Every node is an immutable value; passes build new ones.

Known limits: no recursion.
"""

from __future__ import annotations

from mkold.ir.nodes.expressions import (
    Binary,
    Const,
    Expr,
    FunctionWord,
    Local,
    Param,
    Select,
    Unary,
    locals_of,
    map_parts,
    parts,
)
from mkold.ir.nodes.statements import (
    Assign,
    Block,
    Break,
    Call,
    CallPtr,
    CallRcu,
    Continue,
    Function,
    If,
    Loop,
    Op,
    Return,
    Stmt,
    callees,
    walk,
)
from mkold.ir.nodes.words import (
    BINARY,
    NARROW,
    POISON_FREE,
    POISON_INUSE,
    UNARY,
    WORD_BITS,
    WORD_MASK,
    evaluate_binary,
    evaluate_unary,
)

__all__ = [
    "BINARY",
    "NARROW",
    "POISON_FREE",
    "POISON_INUSE",
    "UNARY",
    "WORD_BITS",
    "WORD_MASK",
    "Assign",
    "Binary",
    "Block",
    "Break",
    "Call",
    "CallPtr",
    "CallRcu",
    "Const",
    "Continue",
    "Expr",
    "Function",
    "FunctionWord",
    "If",
    "Local",
    "Loop",
    "Op",
    "Param",
    "Return",
    "Select",
    "Stmt",
    "Unary",
    "callees",
    "evaluate_binary",
    "evaluate_unary",
    "locals_of",
    "map_parts",
    "parts",
    "walk",
]
