"""Mutated claims files: arguments of every kind in every place of the interface.

One call of a claims file that is right has an argument replaced, dropped, doubled or exchanged
with its neighbour; whatever it is then, it is an answer or bad input at its line.
"""

from __future__ import annotations

import ast
import copy
import random
from collections import Counter
from pathlib import Path

from hostile import ran
from hostile.inputs import Say

SOURCE = """
from mkold.check import (
    Before, Case, Claim, Drop, Exchange, Force, Scenario, Set, Skip, Split, Swap
)
from mkold.lang import (
    READ_ONCE, WRITE_ONCE, Ptr, Struct, atomic_inc, kernel, smp_mb, smp_rmb, smp_wmb, u64
)


class Box(Struct):
    x: u64
    y: u64
    n: u64


@kernel
def init(b: Ptr[Box], value: u64) -> u64:
    b.n = value
    return value


@kernel
def write(b: Ptr[Box], value: u64) -> None:
    WRITE_ONCE(b.x, value)
    smp_wmb()
    WRITE_ONCE(b.y, 1)
    atomic_inc(b.n)


@kernel
def read(b: Ptr[Box]) -> u64:
    y = READ_ONCE(b.y)
    smp_rmb()
    return READ_ONCE(b.x) + 10 * y


@kernel
def quiet() -> None:
    smp_mb()


def setup(m):
    b = m.new(Box, "b", count=1)
    w = m.words(2, "w", value=3, align=2)
    fresh = m.raw(2, align=1)
    m.poke(w, m.peek(w) + 1)
    m.call(init, b, 7, cpu=0)
    m.name("alias", w)
    m.watch("n", b + 2)
    m.bind({"quiet": quiet})
    m.declare(["SPARE"])
    m.poke(fresh, m.pointer(quiet))
    m.thread("writer", (write, b, 1), (quiet,))
    m.thread("reader", (read, b))
    m.never("stale", lambda end: end.result("reader", 0, 0) == 10, "x is old though y is new.")
    m.never("lost", lambda end: end["n"] != 8, "The count is wrong.")


SCENARIO = Scenario(
    "message", setup, params={"SPARE": 1}, ignore=frozenset({"warn-on"}), sentence="A message.",
    stand_ins={"quiet": quiet}, partial=False,
)
EDITS = (
    (Drop("write:smp_wmb"),),
    (Swap("read:smp_rmb", "smp_mb"),),
    (Split("write:atomic_inc"),),
    (Skip("quiet"),),
    (Set("SPARE", 2),),
    (Exchange("write:WRITE_ONCE[0]", "write:WRITE_ONCE[1]"),),
    (Before("write:WRITE_ONCE[1]", "write:WRITE_ONCE[0]"),),
    (Force("read:READ_ONCE[0]", 1),),
)
CLAIMS = [
    Claim(
        "message", "The message is new.", "nobody",
        (Case("as it is", SCENARIO, only=frozenset({"stale"})),), asks="always", arch="",
    ),
    Claim(
        "edited", "So it is with edits.", "nobody",
        (Case("edited", SCENARIO, EDITS[WHICH], decides=True),),
    ),
]
"""
VALUES = (
    "None", "-1", "'x'", "''", "[]", "()", "{}", "1.5", "object()", "10**30", "10**5000",
    "True", "b'x'", "int", "lambda: 0", "lambda *a: None", "(1, 2)", "{'x': 1}", "{1}",
    "float('nan')", "[[]]",
    "'\\x1b]0;x\\x07'", "range(10**9)", "quiet", "Box", "setup", "SCENARIO", "2**64 - 1", "...",
    "type('T', (), {'__repr__': lambda s: 1 / 0})()",
)  # fmt: skip
MODES = (
    (), ("--explain",), ("--json",), ("-o", "out.html", "--force"), ("--list",),
    ("-o", "out.replay.json", "--force"), ("--needed",), ("--export", "out"), ("--diff",),
)  # fmt: skip
LIMITS = ("--timeout", "1", "--jobs", "1", "--bound", "2", "--memory-limit", "3G")
_OURS = ("kernel", "Struct")


def claims(n: int, seed: int, folder: Path, say: Say) -> Counter[str]:
    """Mutants, each through one mode of ``mkold check``."""
    rng = random.Random(f"claims {seed}")
    counts: Counter[str] = Counter()
    for number in range(n):
        file = folder / "mutant.py"
        text, what = mutant(rng)
        file.write_text(text)
        mode = MODES[number % len(MODES) if number % 3 == 0 else 0]
        mode = tuple(str(folder / word) if word.startswith("out") else word for word in mode)
        done = ran.here("check", str(file), *LIMITS, *mode)
        counts["ran"] += 1
        counts[f"exit {done.code}"] += 1
        if done.wrong():
            counts["wrong"] += 1
            kept = folder / f"{number}.kept"
            kept.write_text(text)
            say(f"claims: {what}: {done.wrong()}; kept: {kept} {' '.join(mode)}")
    return counts


def mutant(rng: random.Random) -> tuple[str, str]:
    """A source, and what is changed in it."""
    tree = ast.parse(SOURCE.replace("WHICH", str(rng.randrange(8))))
    calls = [node for node in ast.walk(tree) if _is_interface(node)]
    said = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        call = rng.choice(calls)
        before = ast.unparse(call)
        _change(call, rng)
        said.append(f"{before} -> {ast.unparse(call)}")
    return ast.unparse(ast.fix_missing_locations(tree)), "; ".join(said)


def _is_interface(node: ast.AST) -> bool:
    """A call of ``m.something``, ``end.something`` or a capital name."""
    if isinstance(node, ast.Tuple):  # a thread's call
        return len(node.elts) > 0 and isinstance(node.ctx, ast.Load)
    if not isinstance(node, ast.Call):
        return False
    match node.func:
        case ast.Attribute(value=ast.Name(id="m" | "end")):
            return True
        case ast.Name(id=name):
            return name[0].isupper() and name not in _OURS and not name.isupper()
    return False


def _change(call: ast.AST, rng: random.Random) -> None:
    args: list[ast.expr] = getattr(call, "elts", None) or getattr(call, "args", [])
    named: list[ast.keyword] = getattr(call, "keywords", [])
    value = ast.parse(rng.choice(VALUES), mode="eval").body
    at = rng.randrange(len(args) + len(named)) if args or named else 0
    match rng.randrange(6):
        case 0 if args:
            del args[rng.randrange(len(args))]
        case 1:
            args.insert(rng.randrange(len(args) + 1), value)
        case 2 if len(args) > 1:
            i = rng.randrange(len(args) - 1)
            args[i], args[i + 1] = args[i + 1], args[i]
        case 3 if args:
            args.append(copy.deepcopy(rng.choice(args)))
        case _ if args or named:
            if at < len(args):
                args[at] = value
            else:
                named[at - len(args)].value = value
