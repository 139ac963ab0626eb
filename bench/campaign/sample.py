"""A program by kind and number: its source text, and what engines decide.

A number and a seed make the same program each time. ``program`` is what engines take;
``case`` what runs natively, of kernel Python alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from campaign.random_tree import random_tree
from campaign.render import (
    ARRAY,
    ARRAY_WORDS,
    LETTERS,
    LOCKS,
    OBJECTS,
    POINTER,
    SRCU,
    WORDS,
    KernelPython,
    Litmus,
)
from campaign.tree import Tree
from mkold.check import Case, End, Scenario, Setup
from mkold.check.program import Built, build_case
from mkold.ir.nodes import Function
from mkold.ir.program import Program
from mkold.lang import Struct, compile_text, u64
from mkold.litmus import parse
from mkold.sync.srcu import SrcuStruct


class Object(Struct):
    """What can be freed."""

    word: u64
    next: u64


@dataclass(frozen=True, slots=True)
class Sample:
    """``built`` is of kernel Python alone; ``bad`` then tells whether an end must not be."""

    name: str
    kind: str
    tree: Tree
    source: str
    program: Program
    built: Built | None = None
    case: Case | None = None


def sample(kind: str, seed: int, number: int) -> Sample:
    """Program ``number`` of ``kind`` under ``seed``."""
    name = f"{kind}-{seed}-{number}"
    return of_tree(kind, name, random_tree(kind, name))


def of_tree(kind: str, name: str, tree: Tree) -> Sample:
    """The program that a tree is."""
    if kind == "litmus":
        text = Litmus().text(tree, name)
        return Sample(name, kind, tree, text, alike(parse(text, name)))
    text = KernelPython().text(tree)
    case = Case("as it is", scenario(name, tree, text))
    built = build_case(case)
    return Sample(name, kind, tree, text, alike(built.program), built, case)


def alike(program: Program) -> Program:
    """``program`` in which threads that do the same run the same function, so that an engine
    can see that they may be exchanged."""
    first: list[Function] = []
    threads = []
    for thread in program.threads:
        mine = program.functions[thread.function]
        same = (f for f in first if (f.params, f.body) == (mine.params, mine.body))
        known = next(same, None)
        if known is None:
            first.append(known := mine)
        threads.append(replace(thread, function=known.name))
    return replace(program, threads=tuple(threads))


def scenario(name: str, tree: Tree, text: str) -> Scenario:
    """The machine: a word for each letter, two objects, an array; a thread for each body."""
    functions = compile_text(text)

    def setup(m: Setup) -> None:
        at = {letter: m.words(1, letter) for letter in (*WORDS, *LOCKS, POINTER)}
        at[SRCU] = m.new(SrcuStruct)
        at[ARRAY] = m.words(ARRAY_WORDS, ARRAY)
        at |= {letter: m.new(Object, letter) for letter in OBJECTS}
        for letter, word in tree.init:
            m.poke(at[letter], at[word] if isinstance(word, str) else word)
        for letter in (*WORDS, POINTER, *OBJECTS):
            m.watch(letter, at[letter])
        for i in range(ARRAY_WORDS):
            m.watch(f"{ARRAY}{i}", at[ARRAY] + i)
        words = [at[letter] for letter in LETTERS]
        for i, body in enumerate(tree.threads):
            m.thread(f"P{i}", (functions[f"P{tree.threads.index(body)}"], *words))
        m.never("bad", lambda end: is_bad(tree, end), "both threads saw what they must not")

    return Scenario(name, setup)


def is_bad(tree: Tree, end: End) -> bool:
    """Whether the first threads end with the numbers that the tree calls bad."""
    words = tree.bad[: len(tree.threads)]
    return all(end.result(f"P{i}") == word for i, word in enumerate(words))
