"""Values and guards while reads are still unknown.

A *value* is a word (``int``) or a tuple::

    ("r", e)           what read event number e read
    ("u", op, a)       unary, ("b", op, a, b) binary operator of mkold.ir.nodes
    ("s", c, a, b)     a if c else b, by data flow
    ("p", g, a, b)     a where guard g holds, else b: two branches met

A *guard* is 0, 1 or a formula over numbered *decisions* (which way a branch went)::

    ("d", k)  ("!", g)  ("&", g, h)  ("|", g, h)

Both are built folded; identities that make a dependency vain (``r ^ r``, ``r * 0``) fold
the value only: what a value depends on is kept apart from it (``Taint``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mkold.ir.nodes import evaluate_binary, evaluate_unary

Value = Any  # int | tuple, see above
Guard = Any  # int | tuple, see above
Taint = dict[int, Guard]  # read event -> where the value depends on it
NO_TAINT: Taint = {}


def unary(op: str, a: Value) -> Value:
    return evaluate_unary(op, a) if type(a) is int else ("u", op, a)


def binary(op: str, a: Value, b: Value) -> Value:
    if type(a) is int and type(b) is int:
        return evaluate_binary(op, a, b)
    if a == b and op in _SAME:
        return _SAME[op]
    if op in _ZERO and (a == 0 or b == 0):
        return 0
    if b == 0 and op in _UNIT:
        return a
    if a == 0 and op in ("add", "or", "xor"):
        return b
    return ("b", op, a, b)


_SAME = {"xor": 0, "sub": 0, "eq": 1, "ne": 0, "ult": 0, "ule": 1, "slt": 0, "sle": 1}
_ZERO = frozenset({"and", "mul"})
_UNIT = frozenset({"add", "sub", "or", "xor", "shl", "lshr", "ashr"})


def select(c: Value, a: Value, b: Value) -> Value:
    if type(c) is int:
        return a if c else b
    return a if a == b else ("s", c, a, b)


def phi(guard: Guard, a: Value, b: Value) -> Value:
    if guard == 1 or a == b:
        return a
    return b if guard == 0 else ("p", guard, a, b)


def both(g: Guard, h: Guard) -> Guard:
    if g == 1:
        return h
    if h == 1 or g == h:
        return g
    return 0 if g == 0 or h == 0 else ("&", g, h)


def either(g: Guard, h: Guard) -> Guard:
    if g == 0:
        return h
    if h == 0 or g == h:
        return g
    return 1 if g == 1 or h == 1 else ("|", g, h)


def negate(g: Guard) -> Guard:
    if type(g) is int:
        return 1 - g
    return g[1] if g[0] == "!" else ("!", g)


def conjuncts(guard: Guard) -> set[Guard]:
    """The parts that ``guard`` is the conjunction of."""
    parts: set[Guard] = set()
    waiting = [guard]
    while waiting:
        part = waiting.pop()
        if type(part) is tuple and part[0] == "&":
            waiting += part[1:]
        else:
            parts.add(part)
    return parts


def implies(strong: Guard, weak: Guard) -> bool:
    """Whether ``strong`` plainly holds only where ``weak`` does; may say no too often."""
    return weak == 1 or strong is weak or conjuncts(weak) <= conjuncts(strong)


def plainly(guard: Guard, conj: set[Guard]) -> bool | None:
    """What the conjunction ``conj`` plainly says of ``guard``; None: nothing."""
    parts = conjuncts(guard)
    if parts <= conj:
        return True
    return False if any(negate(part) in conj for part in parts) else None


def under(value: Value, guard: Guard) -> Value:
    """``value`` where ``guard`` holds, as far as that is plain to see."""
    conj = conjuncts(guard)
    while type(value) is tuple and value[0] == "p":
        way = plainly(value[1], conj)
        if way is None:
            break
        value = value[2] if way else value[3]
    return value


def cases(guard: Guard, limit: int = 16) -> list[Guard]:
    """``guard`` as alternatives without a choice at their top, if they are few."""
    done: list[Guard] = []
    waiting = [guard]
    while waiting:
        one = waiting.pop()
        choice = next((p for p in conjuncts(one) if type(p) is tuple and p[0] == "|"), None)
        if choice is None or contradicts(one):
            done.append(one)
            continue
        rest: Guard = 1
        for part in conjuncts(one) - {choice}:
            rest = both(rest, part)
        waiting += [both(rest, choice[1]), both(rest, choice[2])]
        if len(waiting) + len(done) > limit:
            return [guard]
    return done


def contradicts(guard: Guard) -> bool:
    """Whether ``guard`` plainly can't hold; may say no too often."""
    parts = conjuncts(guard)
    return any(negate(part) in parts for part in parts)


def merge_taints(*taints: Taint) -> Taint:
    """What depends on any of the parts."""
    full = [taint for taint in taints if taint]
    if not full:
        return NO_TAINT
    if len(full) == 1:
        return full[0]
    result = dict(full[0])
    for taint in full[1:]:
        for read, guard in taint.items():
            result[read] = either(result.get(read, 0), guard)
    return result


def taint_under(taint: Taint, guard: Guard) -> Taint:
    """``taint`` where ``guard`` holds."""
    if guard == 1 or not taint:
        return taint
    return {read: both(g, guard) for read, g in taint.items()}


def holds(guard: Guard, decided: Mapping[int, bool]) -> bool:
    """The guard under ``decided``; a decision not taken counts as false."""
    if type(guard) is int:
        return bool(guard)
    tag = guard[0]
    if tag == "d":
        return decided.get(guard[1], False)
    if tag == "!":
        return not holds(guard[1], decided)
    if tag == "&":
        return holds(guard[1], decided) and holds(guard[2], decided)
    return holds(guard[1], decided) or holds(guard[2], decided)


def resolve(value: Value, decided: Mapping[int, bool]) -> Value:
    """``value`` with every meeting of branches settled by ``decided``."""
    if type(value) is int or value[0] == "r":
        return value
    tag = value[0]
    if tag == "p":
        return resolve(value[2] if holds(value[1], decided) else value[3], decided)
    if tag == "b":
        return binary(value[1], resolve(value[2], decided), resolve(value[3], decided))
    if tag == "u":
        return unary(value[1], resolve(value[2], decided))
    return select(*(resolve(part, decided) for part in value[1:]))


def reads_of(value: Value) -> Iterator[int]:
    """Read events that ``value`` mentions, with repeats; guards are not looked into."""
    if type(value) is int:
        return
    tag = value[0]
    if tag == "r":
        yield value[1]
        return
    for part in value[1 if tag == "s" else 2 :]:
        yield from reads_of(part)


def evaluate(value: Value, read: Callable[[int], int]) -> int:
    """The word that a resolved ``value`` is, given what each read event read."""
    if type(value) is int:
        return value
    tag = value[0]
    if tag == "r":
        return read(value[1])
    if tag == "b":
        return evaluate_binary(value[1], evaluate(value[2], read), evaluate(value[3], read))
    if tag == "u":
        return evaluate_unary(value[1], evaluate(value[2], read))
    assert tag == "s"
    return evaluate(value[2] if evaluate(value[1], read) else value[3], read)
