"""The intermediate form as text, for people, for content hashes and for diffs."""

from __future__ import annotations

from collections.abc import Iterator

from mkold.ir.nodes import (
    NARROW,
    WORD_BITS,
    Assign,
    Binary,
    Block,
    Break,
    Call,
    CallPtr,
    CallRcu,
    Const,
    Continue,
    Expr,
    Function,
    FunctionWord,
    If,
    Local,
    Loop,
    Op,
    Param,
    Return,
    Select,
    Stmt,
    Unary,
)

_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "udiv": "/", "umod": "%", "sdiv": "/s",
    "smod": "%s", "and": "&", "or": "|", "xor": "^", "shl": "<<", "lshr": ">>",
    "ashr": ">>s", "eq": "==", "ne": "!=", "ult": "<", "ule": "<=", "slt": "<s",
    "sle": "<=s", "neg": "-", "not": "~", "lnot": "!",
}  # fmt: skip


def expr_text(expr: Expr) -> str:
    """``expr`` in C-like notation, fully parenthesised below the top."""
    match expr:
        case Const(value, symbol):
            return symbol or (str(value) if value < 4096 else hex(value))
        case Param(name):
            return f"${name}"
        case Local(name):
            return name
        case FunctionWord(name):
            return f"&{name}"
        case Unary(op, a):
            sign = f"({op})" if op in NARROW else _SYMBOLS[op]
            return sign + _inner(a)
        case Binary(op, a, b):
            return f"{_inner(a)} {_SYMBOLS[op]} {_inner(b)}"
        case Select(cond, a, b):
            return f"{_inner(cond)} ? {_inner(a)} : {_inner(b)}"


def _inner(expr: Expr) -> str:
    text = expr_text(expr)
    return f"({text})" if isinstance(expr, Binary | Select) else text


def stmt_lines(stmt: Stmt, indent: str = "") -> Iterator[str]:
    """``stmt`` as lines, one primitive or assignment a line."""
    match stmt:
        case Assign(dst, value):
            yield f"{indent}{dst} = {expr_text(value)}"
        case Op(prim, dsts, args):
            yield f"{indent}{_to(dsts)}{prim}{_object(stmt)}({_list(args)})"
        case Call(function, dsts, args):
            yield f"{indent}{_to(dsts)}call {function}({_list(args)})"
        case CallPtr(pointer, members, dsts, args):
            among = ", ".join(member.name for member in members) or "none"
            call = f"call *{_inner(pointer)}({_list(args)})"
            yield f"{indent}{_to(dsts)}{call} of {among}"
        case CallRcu(function, argument):
            yield f"{indent}call_rcu {function}({expr_text(argument)})"
        case If(cond, then, orelse):
            yield f"{indent}if {expr_text(cond)}:"
            yield from block_lines(then, indent + "  ")
            if orelse:
                yield f"{indent}else:"
                yield from block_lines(orelse, indent + "  ")
        case Block(label, body):
            yield f"{indent}block {label}:"
            yield from block_lines(body, indent + "  ")
        case Loop(body, step, label=label):
            yield f"{indent}{_labelled('loop', label)}:"
            yield from block_lines(body, indent + "  ")
            if step:
                yield f"{indent}step:"
                yield from block_lines(step, indent + "  ")
        case Break(label=label):
            yield indent + _labelled("break", label)
        case Continue(label=label):
            yield indent + _labelled("continue", label)
        case Return(values):
            yield f"{indent}return {_list(values)}".rstrip()


def block_lines(body: tuple[Stmt, ...], indent: str) -> Iterator[str]:
    """A block's lines; an empty block shows ``pass``."""
    if not body:
        yield f"{indent}pass"
    for stmt in body:
        yield from stmt_lines(stmt, indent)


def function_text(function: Function) -> str:
    """The whole function; equal text means equal meaning."""
    head = f"function {function.name}({', '.join(function.params)})"
    head += f" -> {function.n_results}"
    return "\n".join([head, *block_lines(function.body, "  "), ""])


def _object(op: Op) -> str:
    """``.8`` for a narrow object, ``.s8`` with a sign, ``.8@16`` for a part of a word."""
    part = "" if op.shift is None else f"@{op.shift}"
    sign = "s" if op.signed else ""
    return f".{sign}{op.width}{part}" if part or op.width != WORD_BITS else ""


def _labelled(word: str, label: str) -> str:
    return f"{word} {label}" if label else word


def _to(dsts: tuple[str, ...]) -> str:
    return ", ".join(dsts) + " = " if dsts else ""


def _list(args: tuple[Expr, ...]) -> str:
    return ", ".join(map(expr_text, args))
