"""Programs in a line or two: threads as text, one statement after another.

``thread("r1 = READ_ONCE(x); if r1: WRITE_ONCE(y, 1)")`` and so on; variables are one
letter, registers ``r`` and a digit. Only what the tests need.
"""

from __future__ import annotations

import re
from typing import Any

from mkold.ir.nodes import Assign, Binary, Const, Expr, Function, If, Local, Op, Return, Stmt
from mkold.ir.program import And, Compare, Condition, Mem, Observed, Program, Reg, Thread
from mkold.lkmm import Verdict, decide

VARIABLES = {name: 0x1000 + 0x10 * i for i, name in enumerate("abcdefghijklmnopqstuvwxyz")}
_OPERATORS = {"+": "add", "-": "sub", "^": "xor", "&": "and", "==": "eq", "!=": "ne"}


def expression(text: str) -> Expr:
    """Registers, numbers, variables' addresses, and one operator between two of them."""
    text = text.strip()
    for sign, op in _OPERATORS.items():
        left, found, right = text.partition(f" {sign} ")
        if found:
            return Binary(op, expression(left), expression(right))
    if re.fullmatch(r"r\d+", text):
        return Local(text)
    return Const(VARIABLES[text], text) if text in VARIABLES else Const(int(text))


def statement(text: str) -> Stmt:
    text = text.strip()
    if text.startswith("if "):
        cond, _, body = text[3:].partition(": ")
        return If(expression(cond), tuple(statement(part) for part in body.split(" & ")))
    call = re.fullmatch(r"(?:([\w, ]+) = )?(\w+)\((.*)\)", text)
    if call is None:
        dst, _, value = text.partition(" = ")
        return Assign(dst.strip(), expression(value))
    dsts, prim, args = call.groups()
    names = tuple(name.strip() for name in dsts.split(",")) if dsts else ()
    values = tuple(expression(arg) for arg in args.split(",")) if args else ()
    return Op(prim, names, values, what=args.split(",")[0] if args else "")


def program(
    *threads: str,
    exists: str = "",
    observed: str = "",
    init: dict[str, int] | None = None,
    default: int = 0,
    quantifier: str = "exists",
    functions: dict[str, Function] | None = None,
) -> Program:
    """Threads run concurrently; ``exists``: facts like ``0:r1=1 x=2``, all to hold."""
    made = dict(functions or {})
    for i, text in enumerate(threads):
        body = tuple(statement(part) for part in text.split(";") if part.strip())
        made[f"P{i}"] = Function(f"P{i}", (), (*body, Return()))
    facts = [fact.partition("=") for fact in exists.split()]
    formula = And(tuple(Compare("eq", place(left), _word(right)) for left, _, right in facts))
    watched = tuple(place(text) for text in observed.split()) or tuple(
        place(left) for left, _, _ in facts
    )
    return Program(
        name="small",
        functions=made,
        threads=tuple(Thread(f"P{i}", f"P{i}") for i in range(len(threads))),
        init={VARIABLES[name]: word for name, word in (init or {}).items()},
        symbols=VARIABLES,
        condition=Condition(quantifier, formula) if exists else None,
        observed=watched,
        default=default,
    )


def place(text: str) -> Observed:
    if ":" in text:
        thread, _, register = text.partition(":")
        return Reg(int(thread), register)
    return Mem(VARIABLES[text])


def _word(text: str) -> int:
    return VARIABLES[text] if text in VARIABLES else int(text)


def by_masks(made: Program, **asked: Any) -> Verdict:
    """What ``masks`` says, also of programs for which another engine would be chosen."""
    return decide(made, engine="masks", **asked)
