"""Programs in kernel Python, as text: threads are calls, words of memory are one letter.

``program(TEXT, "writer(x, y)", "reader(x, y)")``; a letter stands for an address.
"""

from __future__ import annotations

import re

from mkold.ir.edit import bind
from mkold.ir.module import collect
from mkold.ir.program import Mem, Observed, Program, Reg, Thread
from mkold.lang import compile_text

WORDS = {name: 0x10000 + 0x100 * i for i, name in enumerate("abcdefghijklmnopqstuvwxyz")}


def program(
    text: str,
    *calls: str,
    observed: str = "",
    init: dict[str, int | str] | None = None,
    default: int = 0,
) -> Program:
    """Each call is a thread; ``observed``: words, or ``0:local`` of a thread."""
    names = compile_text(text)
    found = [match for call in calls if (match := re.fullmatch(r"(\w+)\((.*)\)", call))]
    assert len(found) == len(calls)
    module = collect([names[match[1]] for match in found])
    return Program(
        "text",
        bind(module.functions, {}),
        tuple(
            Thread(f"P{i}", match[1], tuple(word(arg) for arg in match[2].split(",") if arg))
            for i, match in enumerate(found)
        ),
        init={word(at): word(value) for at, value in (init or {}).items()},
        symbols=WORDS,
        observed=tuple(map(_place, observed.split())),
        default=default,
    )


def word(text: str | int) -> int:
    """A number, or the address that a letter stands for."""
    if isinstance(text, int):
        return text
    known = WORDS.get(text.strip())
    return int(text) if known is None else known


def _place(text: str) -> Observed:
    thread, colon, local = text.partition(":")
    return Reg(int(thread), local) if colon else Mem(word(text))
