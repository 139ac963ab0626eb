"""A whole litmus test: sections, initial state, threads, final part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mkold.base.errors import InputError, SourceError
from mkold.base.files import read_text
from mkold.ir.nodes import Const, Function, Op, walk
from mkold.ir.prims import PRIMS, Shape
from mkold.ir.program import (
    And,
    Compare,
    Condition,
    Formula,
    Not,
    Observed,
    Or,
    Program,
    Reg,
    Thread,
)
from mkold.litmus.arithmetic import Value
from mkold.litmus.condition import read_final
from mkold.litmus.globals import Globals
from mkold.litmus.initial import is_name, read_initial, thread_number
from mkold.litmus.places import ThreadNames
from mkold.litmus.sections import split
from mkold.litmus.source import Text, Tokens, UnsupportedSourceError, shown
from mkold.litmus.thread import lower
from mkold.litmus.types import INT, LONG, TYPE_WORDS, UINT, Type, pointer, read_type

MAX_CHARACTERS = 1_000_000
MAX_THREADS = 64
LOCKS = (Shape.LOCK, Shape.TRYLOCK, Shape.UNLOCK, Shape.IS_LOCKED)
_RESULT = re.compile(r"^[ \t*(]*result:[ \t]*(\w+)", re.I | re.M)


def read(path: Path, *, placed: bool = True) -> Program:
    """Read the test in file ``path``; ``placed`` as for ``parse``.

    Raises
    ------
    InputError : the file can't be read, or (``SourceError``) is not a litmus test
    """
    return parse(read_text(path), str(path), placed=placed)


def parse(text: str, file: str = "<litmus>", *, placed: bool = True) -> Program:
    """Read the litmus test ``text``; ``file`` names it in errors.

    ``placed``: statements know their place in the source, which only pictures need; reading
    without is a little quicker. Errors name their place in any case.

    Raises
    ------
    SourceError : not a litmus test; with line, column and reason
    UnsupportedSourceError : a construct that mkold does not decide, named
    """
    source = Text(text, file)
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{file}: longer than {MAX_CHARACTERS} characters, no litmus test")
    sections = split(source)
    known = read_initial(source, *sections.initial)
    # The final part may name registers that only it needs (0:x for a parameter x), and
    # variables that no thread names; addresses go to the threads' parameters first.
    tokens = Tokens(source, source.text, *sections.bodies)
    heads = _heads(tokens)
    for head in heads:
        for name in head.parameters:
            known.address(name)
    _check_registers(source, known, heads)
    _settle_types(tokens, known, heads)
    final = read_final(source, sections.final, known, heads)
    shown_registers = {(p.thread, p.local) for p in final.observed if isinstance(p, Reg)}
    functions = {}
    objects = known.objects()
    registers_of: list[dict[str, Type]] = []
    for index, head in enumerate(heads):
        tokens.at = head.start
        addresses, registers = _registers(index, head, known, shown_registers)
        try:
            function, types = lower(
                tokens, f"P{index}", addresses, registers, known, objects, placed=placed
            )
        except SourceError as error:
            raise _with_comment_hint(source, error) from None
        functions[function.name] = function
        registers_of.append(types)
    words = _comparable(source, final.unusual, objects, registers_of)
    _open_locks(known, functions.values())
    return Program(
        name=sections.name,
        functions=functions,
        threads=tuple(Thread(name, name) for name in functions),
        init=known.init,
        symbols=known.symbols(),
        condition=Condition(
            final.condition.quantifier, _with_words(final.condition.formula, words)
        )
        if words
        else final.condition,
        observed=final.observed,
        filter=_with_words(final.filter, words) if final.filter and words else final.filter,
        shown=final.shown,
        words=frozenset(objects),
    )


def result_comment(text: str) -> str:
    """The author's expected result, ``Result: Never`` in the head, or an empty string."""
    found = _RESULT.search(text)
    return found.group(1) if found else ""


def _open_locks(known: Globals, functions: Iterable[Function]) -> None:
    """Spinlocks start unlocked, whatever their word holds: lock.cat looks at no value."""
    if not any(known.init.values()):
        return
    for function in functions:
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and PRIMS[stmt.prim].shape in LOCKS:
                place = stmt.args[0]
                if isinstance(place, Const) and place.value in known.init:
                    known.init[place.value] = 0


def _with_comment_hint(source: Text, error: SourceError) -> SourceError:
    """``error``, with a hint where it comes of a comment that is none in C."""
    at = source.offset(error.pos)
    opened = source.text.rfind("(*", 0, at + 2)
    closed = source.text.find("*)", opened + 2)
    if opened < 0 or at > closed + 1:
        return error
    hint = "comments in a body are /* */; (* *) is for outside"
    return type(error)(error.reason, error.pos, error.text, error.hint or hint)


def _check_registers(source: Text, known: Globals, heads: Sequence[ThreadNames]) -> None:
    """Initial registers belong to threads that there are, and are no parameters."""
    for (thread, name), start in known.set_at.items():
        if thread >= len(heads):
            raise source.error(f"there is no thread P{thread}", start, start + len(str(thread)))
        if name in heads[thread].parameters:
            raise source.error(
                f"'{name}' is a parameter of P{thread} and can't be initialised",
                start, start + len(str(thread)),
            )  # fmt: skip


def _settle_types(tokens: Tokens, known: Globals, heads: Sequence[ThreadNames]) -> None:
    """Each variable has one type, and its initial words are of that type."""
    for head in heads:
        for name, kind in head.parameters.items():
            other = known.types.setdefault(name, kind)
            if kind is not other and kind.differs(other):
                tokens.fail(
                    f"'{name}' is {kind.name} here and {other.name} elsewhere",
                    index=tokens.texts.index(name, head.begin),
                )
    for name, kind in known.types.items():
        if kind.cut:
            base = known.addresses[name]
            for address in range(base, base + known.length(name)):
                if known.init.get(address):
                    known.init[address] = kind.word(known.init[address])


def _comparable(
    source: Text,
    unusual: Iterable[tuple[Observed, int, int]],
    objects: Mapping[int, Type],
    registers: Sequence[Mapping[str, Type]],
) -> dict[tuple[Observed, int], int]:
    """The words that stand in a condition for those that are no positive ``int``."""
    words = {}
    for place, word, start in unusual:
        if isinstance(place, Reg):
            kind = registers[place.thread].get(place.local, LONG)
        else:
            kind = objects[place.address]
        value = LONG.wrapped(word)
        if kind.target is not None or kind.bits != INT.bits:
            continue
        if value < INT.low or value > UINT.high or (kind.signed and value > INT.high):
            raise source.error(f"{value} is no value of {kind.name}", start)
        if not kind.signed:
            words[place, word] = kind.word(word)
    return words


def _with_words(formula: Formula, words: Mapping[tuple[Observed, int], int]) -> Formula:
    match formula:
        case Compare(op, left, right):
            if isinstance(right, int) and not isinstance(left, int):
                return Compare(op, left, words.get((left, right), right))
            return formula
        case Not(a):
            return Not(_with_words(a, words))
        case And(parts) | Or(parts):
            return type(formula)(tuple(_with_words(part, words) for part in parts))


def _heads(tokens: Tokens) -> list[ThreadNames]:
    """Each thread's parameters and the place of its body, in order."""
    texts = tokens.texts
    heads: list[ThreadNames] = []
    while texts[tokens.at]:
        while texts[tokens.at] in ("void", "static"):
            tokens.at += 1
        number = thread_number(texts[tokens.at])
        if texts[tokens.at][:1] != "P" or number is None:
            tokens.fail(
                f"expected a thread, found {shown(texts[tokens.at])}",
                hint="threads are P0(...) { ... }, P1 ... in order",
            )
        if number != len(heads):
            tokens.fail(f"threads are numbered in order; expected P{len(heads)}")
        if number >= MAX_THREADS:
            tokens.fail(f"more than {MAX_THREADS} threads", kind=UnsupportedSourceError)
        tokens.at += 1
        begin = tokens.at
        parameters = _parameters(tokens)
        tokens.expect("{", "before the body of a thread")
        start = tokens.at
        _skip_body(tokens)
        heads.append(ThreadNames(parameters, texts, start, tokens.at, begin))
    if not heads:
        tokens.fail("no thread", hint="at least 'P0(int *x) { }' must follow")
    return heads


def _parameters(tokens: Tokens) -> dict[str, Type]:
    """Names and types of the objects that the parameters point to."""
    texts = tokens.texts
    tokens.expect("(", "after a thread's name")
    names: dict[str, Type] = {}
    while texts[tokens.at] != ")":
        first = tokens.at
        if texts[tokens.at] not in TYPE_WORDS:
            tokens.fail(f"expected a type, found {shown(texts[tokens.at])}")
        while texts[tokens.at] in TYPE_WORDS or texts[tokens.at] == "*":
            tokens.at += 2 if texts[tokens.at] == "struct" else 1
        name = texts[tokens.at]
        if name in (",", ")") and texts[tokens.at - 1] == "void" and not names:
            break
        if not is_name(name):
            tokens.fail(f"expected a parameter's name, found {shown(name)}")
        kind = read_type(texts[first : tokens.at]).target
        if kind is None:
            tokens.fail(
                f"parameter '{name}' is no pointer", hint=f"shared variables: 'int *{name}'"
            )
        if name in names:
            tokens.fail(f"two parameters are called '{name}'")
        names[name] = kind
        tokens.at += 1
        if texts[tokens.at] == ",":
            tokens.at += 1
        elif texts[tokens.at] != ")":
            tokens.fail(f"expected ',' or ')', found {shown(texts[tokens.at])}")
    tokens.expect(")", "after the parameters")
    return names


def _skip_body(tokens: Tokens) -> None:
    texts = tokens.texts
    depth = 1
    while depth:
        token = texts[tokens.at]
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
        elif not token:
            tokens.fail("expected '}'")
        tokens.at += 1


def _registers(
    index: int, head: ThreadNames, known: Globals, shown_registers: set[tuple[int, str]]
) -> tuple[dict[str, Value], dict[str, int]]:
    """A thread's parameters as values, and its initial registers."""
    addresses = {}
    for name in head.parameters:
        at = known.addresses[name]
        kind = pointer(known.types.get(name, INT))
        addresses[name] = Value(Const(at, name), kind, at, at)
    registers = {name: value for (i, name), value in known.registers.items() if i == index}
    for name in head.parameters:
        if (index, name) in shown_registers and name not in registers:
            registers[name] = known.addresses[name]
    return addresses, registers
