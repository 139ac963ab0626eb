"""The initial state: ``{ int x = 1; int *y = &x; 0:r1 = x; int a[2] = {1, 2}; }``.

A name on the right of ``=`` is the address of that variable, with or without ``&``. Any run
of words before a variable is taken for its type. What is not named starts as 0; nothing
is initialised twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mkold.ir.nodes import WORD_MASK
from mkold.litmus.globals import Globals
from mkold.litmus.source import Text, Tokens, UnsupportedSourceError, blank_comments, shown
from mkold.litmus.types import read_type

_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)\Z")
_NULLS = frozenset({"NULL"})
MAX_DIGITS = 1000  # Python turns no longer decimal number to a value, or slowly
MAX_LENGTH = 4096


def read_initial(source: Text, start: int, end: int) -> Globals:
    """Read the initial state in ``[start, end)``."""
    known = Globals()
    tokens = Tokens(source, blank_comments(source, start, end), start, end)
    texts = tokens.texts
    while texts[tokens.at]:
        if texts[tokens.at] in (";", ","):
            tokens.at += 1
            continue
        _item(tokens, known)
        if texts[tokens.at] not in (";", ",", ""):
            tokens.fail(f"expected ';' after an initial value, found {shown(texts[tokens.at])}")
    for name, value, at in known.indexed:  # an array may be declared after it is named
        _check_index(tokens, known, name, value, at)
    return known


def number(token: str) -> int | None:
    """The value of an integer token as a word; ``None`` if it is no integer."""
    if not token[:1].isdigit():
        return None
    if len(token) > MAX_DIGITS:
        return None
    if token.isdecimal():
        value = int(token)
    else:
        match = _NUMBER.match(token)
        if match is None:
            return None
        value = int(match.group(1), 16 if token[:2] in ("0x", "0X") else 10)
    return value if value <= WORD_MASK else None


def is_word(token: str) -> bool:
    """Whether the token is a name or a number."""
    return token[:1].isalnum() or token[:1] == "_"


def is_name(token: str) -> bool:
    """Whether the token is an identifier."""
    return token.isidentifier() and token.isascii()


def read_value(
    tokens: Tokens, known: Globals, check: Callable[[str, int], None] | None = None
) -> int:
    """A value: an integer, or an address as ``x``, ``&x`` or ``a[1]``.

    ``check`` is called with a variable's name and the number of its token.
    """
    texts = tokens.texts
    token = texts[tokens.at]
    if token == "(":
        _skip_cast(tokens)
        token = texts[tokens.at]
    if token in ("-", "+"):
        tokens.at += 1
        magnitude = number(texts[tokens.at])
        if magnitude is None:
            tokens.fail("expected an integer")
        tokens.at += 1
        return -magnitude & WORD_MASK if token == "-" else magnitude
    value = number(token)
    if value is not None:
        tokens.at += 1
        return value
    if token == "&":
        tokens.at += 1
        token = texts[tokens.at]
    if token in _NULLS:
        tokens.at += 1
        return 0
    if not is_name(token):
        tokens.fail(f"expected an integer or a variable, found {shown(token)}")
    if check is not None:
        check(token, tokens.at)
    tokens.at += 1
    address = known.address(token)
    if texts[tokens.at] != "[":
        return address
    if check is not None:
        return address + read_index(tokens, known, token)
    index = _index(tokens)
    known.indexed.append((token, index, tokens.at - 2))
    return address + index


def read_list(
    tokens: Tokens, known: Globals, check: Callable[[str, int], None] | None = None
) -> list[int]:
    """The values of an array, ``{1, 2}``."""
    tokens.expect("{", "before an array's values")
    values: list[int] = []
    while tokens.texts[tokens.at] not in ("}", ""):
        values.append(read_value(tokens, known, check))
        if tokens.texts[tokens.at] == ",":
            tokens.at += 1
    tokens.expect("}", "after an array's values")
    return values


def _skip_cast(tokens: Tokens) -> None:
    texts = tokens.texts
    tokens.at += 1
    while is_name(texts[tokens.at]) or texts[tokens.at] == "*":
        tokens.at += 1
    tokens.expect(")", "after a type")


def read_index(tokens: Tokens, known: Globals, name: str) -> int:
    """``[i]`` behind the variable ``name``, inside its array."""
    value = _index(tokens)
    _check_index(tokens, known, name, value, tokens.at - 2)
    return value


def _check_index(tokens: Tokens, known: Globals, name: str, value: int, at: int) -> None:
    length = known.length(name)
    if value >= length:
        tokens.fail(f"index {value} is out of bounds", index=at, hint=bounds(name, length))


def bounds(name: str, length: int) -> str:
    """How long ``name`` is, for a hint."""
    return f"'{name}' has {length} elements" if length > 1 else f"'{name}' is one variable"


def _index(tokens: Tokens) -> int:
    tokens.expect("[", "before an index")
    value = number(tokens.texts[tokens.at])
    if value is None:
        tokens.fail("an index is an integer")
    tokens.at += 1
    tokens.expect("]", "after an index")
    return value


def _item(tokens: Tokens, known: Globals) -> None:
    """One ``[type] place [= value]``."""
    texts = tokens.texts
    first = tokens.at
    while texts[tokens.at + 1 : tokens.at + 2] and _is_type_word(tokens):
        tokens.at += 1
    start = tokens.at
    place = _place(tokens, known)
    if start > first and isinstance(place, str):
        known.types[place] = read_type(texts[first:start])
    if texts[tokens.at] == "[" and isinstance(place, str):
        _array(tokens, known, place, start)
        return
    value = 0
    if texts[tokens.at] == "=":
        tokens.at += 1
        value = _initialiser(tokens, known)
    if isinstance(place, str):
        _check_new(tokens, known, place, start)
        known.init[known.address(place)] = value
        return
    if place in known.registers:
        tokens.fail(f"{place[0]}:{place[1]} is initialised twice", index=start)
    known.registers[place] = value
    known.set_at[place] = tokens.starts[start]


def _check_new(tokens: Tokens, known: Globals, name: str, at: int) -> None:
    if known.address(name) in known.init:
        tokens.fail(f"'{name}' is initialised twice", index=at)


def _is_type_word(tokens: Tokens) -> bool:
    """Whether the next token belongs to a type, judged by what follows it."""
    here, after = tokens.texts[tokens.at], tokens.texts[tokens.at + 1]
    if here == "*":
        return True
    if here == "P" or not is_name(here):
        return False
    return (
        after == "*"
        or is_name(after)
        or (after == "[" and _bracketed_name(tokens))
        or (number(after) is not None and tokens.texts[tokens.at + 2] == ":")
    )


def _bracketed_name(tokens: Tokens) -> bool:
    return is_name(tokens.texts[tokens.at + 2])


def _place(tokens: Tokens, known: Globals) -> str | tuple[int, str]:
    """A variable's name, or a thread number and register."""
    texts = tokens.texts
    token = texts[tokens.at]
    thread = thread_number(token)
    if thread is not None and texts[tokens.at + 1] == ":":
        register = texts[tokens.at + 2]
        if not is_name(register):
            tokens.fail("expected a register", index=tokens.at + 2)
        tokens.at += 3
        return thread, register
    bracketed = token == "["
    if bracketed:
        tokens.at += 1
        token = texts[tokens.at]
    if not is_name(token):
        tokens.fail(f"expected a variable or a register, found {shown(token)}")
    tokens.at += 1
    if bracketed:
        tokens.expect("]", "after a variable")
    known.address(token)
    return token


def thread_number(token: str) -> int | None:
    """The thread that ``0`` or ``P0`` names, as in ``0:r1``."""
    digits = token[1:] if token[:1] == "P" else token
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 6 else None


def _initialiser(tokens: Tokens, known: Globals) -> int:
    if tokens.texts[tokens.at] in ("ATOMIC_INIT", "ATOMIC64_INIT", "ATOMIC_LONG_INIT"):
        tokens.at += 1
        tokens.expect("(", "after ATOMIC_INIT")
        value = read_value(tokens, known)
        tokens.expect(")", "after an initial value")
        return value
    if tokens.texts[tokens.at] == "{":
        tokens.fail(
            "a list of values for one variable", kind=UnsupportedSourceError,
            hint="declare an array: 'int x[2] = {1, 2}'",
        )  # fmt: skip
    return read_value(tokens, known)


def _array(tokens: Tokens, known: Globals, name: str, at: int) -> None:
    length = _index(tokens)
    if not 0 < length <= MAX_LENGTH:
        tokens.fail(f"an array has 1 to {MAX_LENGTH} elements", index=tokens.at - 2)
    _check_new(tokens, known, name, at)
    known.arrays[name] = length
    values = [0] * length
    if tokens.texts[tokens.at] == "=":
        opened = tokens.at = tokens.at + 1
        values = read_list(tokens, known)
        if len(values) != length:
            tokens.fail(f"{len(values)} values for {length} elements", index=opened)
    base = known.address(name)
    known.init.update((base + i, value) for i, value in enumerate(values))
